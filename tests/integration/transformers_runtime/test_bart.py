"""A BART: places instead of distances, a byte tokenizer, and constraints in generation_config.json."""

import pytest

from integration.transformers_runtime.engines import Engine, Reference

MODEL, TASK = "bart", "generate"
PROMPTS = ["What is the capital of France?", "Alice", "the sea is deep and blue, 東京 😀", "Paris is"]
TOKENS = 40


@pytest.fixture(scope="module")
def expected(reference: Reference) -> dict[str, str]:
    return {each: str(reference.ask(MODEL, "generate", text=each, tokens=TOKENS)["text"]) for each in PROMPTS}


def test_greedy_answers_are_those_of_generate_together_too(engine: Engine, expected: dict[str, str]) -> None:
    bodies = [{"prompt": prompt, "max_tokens": TOKENS} for prompt in PROMPTS]
    alone = [engine.post("/v1/completions", **body)["choices"][0]["text"] for body in bodies]
    assert alone == list(expected.values())
    before = engine.metric("forward_passes_total", kind="decode")
    answers = engine.at_once("/v1/completions", bodies * 2)
    assert [each["choices"][0]["text"] for each in answers] == alone * 2
    tokens = sum(each["usage"]["completion_tokens"] for each in answers)
    assert engine.metric("forward_passes_total", kind="decode") - before < tokens


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_stream_never_cuts_a_character(engine: Engine, expected: dict[str, str], prompt: str) -> None:
    events = engine.events("/v1/completions", prompt=prompt, max_tokens=TOKENS)
    assert "".join(each["choices"][0]["text"] for each in events) == expected[prompt]


def test_rows_that_end_at_different_times_change_no_other(engine: Engine) -> None:
    alone = [engine.post("/v1/completions", prompt=PROMPTS[2], max_tokens=count) for count in (3, 9, 30)]
    bodies = [{"prompt": PROMPTS[2], "max_tokens": count} for count in (3, 9, 30)]
    together = engine.at_once("/v1/completions", bodies)
    assert [each["choices"] for each in together] == [each["choices"] for each in alone]


def test_an_answer_takes_no_more_places_than_there_are(engine: Engine) -> None:
    answer = engine.post("/v1/completions", prompt="Paris", max_tokens=128, ignore_eos=True)
    assert answer["usage"]["completion_tokens"] == 128
    assert engine.refused("/v1/completions", prompt="Paris", max_tokens=129)[0] == 400
