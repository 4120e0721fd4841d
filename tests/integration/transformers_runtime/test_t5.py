"""A T5: the same answers as `generate()`, whoever else is in the batch."""

import json
import socket
import threading
from typing import Any

import openai
import pytest

from integration.transformers_runtime.engines import KEY, Engine, Reference
from integration.waiting import until

MODEL, TASK = "t5", "generate"
PROMPTS = [
    "summarize: the house is small.",
    "What is the capital of France?",
    "Alice met Bob",
    "the sea",
    "translate English to German: the garden is wonderful and small.",
    "Paris",
    "long film",
    "it is",
]
TOKENS = 40


def decode_passes(engine: Engine) -> float:
    return engine.metric("forward_passes_total", kind="decode")


@pytest.fixture(scope="module")
def expected(reference: Reference) -> dict[str, dict[str, object]]:
    found = {each: reference.ask(MODEL, "generate", text=each, tokens=TOKENS) for each in PROMPTS}
    lengths = {len(each["ids"]) for each in found.values()}
    assert len(lengths) > 2, "some answers end by themselves, some do not"
    return found


@pytest.mark.parametrize("prompt", PROMPTS)
def test_greedy_answers_are_those_of_generate(
    engine: Engine, expected: dict[str, dict[str, object]], prompt: str
) -> None:
    answer = engine.post("/v1/completions", prompt=prompt, max_tokens=TOKENS, temperature=0)
    choice, ids = answer["choices"][0], expected[prompt]["ids"]
    assert isinstance(ids, list)
    assert choice["text"] == expected[prompt]["text"]
    assert choice["finish_reason"] == ("length" if len(ids) == TOKENS and ids[-1] != 1 else "stop")
    assert answer["usage"]["completion_tokens"] == len(ids)
    assert answer["object"] == "text_completion"
    assert answer["id"].startswith("cmpl-")


def test_concurrent_requests_share_forward_passes_and_change_no_answer(
    engine: Engine, expected: dict[str, dict[str, object]]
) -> None:
    before = decode_passes(engine)
    bodies = [{"prompt": prompt, "max_tokens": TOKENS, "temperature": 0} for prompt in PROMPTS * 2]
    answers = engine.at_once("/v1/completions", bodies)
    assert [each["choices"][0]["text"] for each in answers] == [
        expected[prompt]["text"] for prompt in PROMPTS * 2
    ]
    tokens = sum(each["usage"]["completion_tokens"] for each in answers)
    assert decode_passes(engine) - before < tokens / 2


def test_a_request_joins_those_under_way_and_both_stay_right(
    engine: Engine, expected: dict[str, dict[str, object]]
) -> None:
    """Rows of different ages in one batch: the later ones are padded on the left."""
    long = {"prompt": PROMPTS[4], "max_tokens": 256, "ignore_eos": True, "temperature": 0}
    alone = engine.post("/v1/completions", **long)["choices"][0]["text"]
    found: list[str] = []

    def ask_for_long() -> None:
        found.append(engine.post("/v1/completions", **long)["choices"][0]["text"])

    background = threading.Thread(target=ask_for_long)
    written, before = engine.metric("generation_tokens_total"), decode_passes(engine)
    background.start()
    until(lambda: engine.metric("generation_tokens_total") > written + 3, "the long one is under way")
    for prompt in PROMPTS[:3]:
        answer = engine.post("/v1/completions", prompt=prompt, max_tokens=TOKENS, temperature=0)
        assert answer["choices"][0]["text"] == expected[prompt]["text"]
    background.join()
    assert found == [alone]
    assert decode_passes(engine) - before < engine.metric("generation_tokens_total") - written


@pytest.mark.parametrize("prompt", [PROMPTS[1], PROMPTS[4]])
def test_a_stream_is_the_answer_in_pieces(engine: Engine, prompt: str) -> None:
    asked = {"prompt": prompt, "max_tokens": TOKENS, "temperature": 0}
    whole = engine.post("/v1/completions", **asked)
    events = engine.events("/v1/completions", **asked, stream_options={"include_usage": True})
    *parts, last = events
    assert len(parts) > 3
    assert "".join(part["choices"][0]["text"] for part in parts) == whole["choices"][0]["text"]
    assert [part["choices"][0]["finish_reason"] for part in parts][-1] == whole["choices"][0]["finish_reason"]
    assert (last["choices"], last["usage"]) == ([], whole["usage"])


def test_every_event_counts_on_request(engine: Engine) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    messages = [{"role": "user", "content": PROMPTS[1]}]
    events = engine.events("/v1/chat/completions", messages=messages, max_tokens=8, stream_options=options)
    counts = [event["usage"]["completion_tokens"] for event in events]
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[-1] == 8
    assert len({event["usage"]["prompt_tokens"] for event in events}) == 1


def test_the_official_client_reads_chats(engine: Engine, expected: dict[str, dict[str, object]]) -> None:
    with openai.OpenAI(base_url=f"{engine.url}/v1", api_key=KEY, max_retries=0) as client:
        messages = [{"role": "user", "content": PROMPTS[1]}]
        ask: Any = client.chat.completions.create
        answer = ask(model=MODEL, messages=messages, max_completion_tokens=TOKENS)
        assert answer.choices[0].message.content == expected[PROMPTS[1]]["text"]
        stream = ask(model=MODEL, messages=messages, max_completion_tokens=TOKENS, stream=True, n=2)
        told = {0: "", 1: ""}
        for event in stream:
            told[event.choices[0].index] += event.choices[0].delta.content or ""
        assert set(told.values()) == {expected[PROMPTS[1]]["text"]}


def test_messages_without_a_template_are_read_one_below_the_other(engine: Engine) -> None:
    parts = [{"type": "text", "text": "Paris"}, {"type": "text", "text": "is"}]
    messages = [{"role": "system", "content": "the sea"}, {"role": "user", "content": parts}]
    chat = engine.post("/v1/chat/completions", messages=messages, max_tokens=12)
    same = engine.post("/v1/completions", prompt="the sea\nParis\nis", max_tokens=12)
    assert chat["choices"][0]["message"]["content"] == same["choices"][0]["text"]
    assert chat["usage"] == same["usage"]


def test_choices_of_one_prompt_are_encoded_once_and_seeded_ones_repeat(engine: Engine) -> None:
    asked = {"prompt": PROMPTS[3], "n": 4, "temperature": 1.5, "seed": 11, "max_tokens": 12}
    before = engine.metric("prompt_tokens_total")
    first = engine.post("/v1/completions", **asked)
    assert engine.metric("prompt_tokens_total") - before == first["usage"]["prompt_tokens"]
    texts = [choice["text"] for choice in first["choices"]]
    assert len(set(texts)) > 1
    assert [choice["text"] for choice in engine.post("/v1/completions", **asked)["choices"]] == texts
    other = engine.post("/v1/completions", **asked | {"seed": 12})
    assert [choice["text"] for choice in other["choices"]] != texts


@pytest.mark.parametrize("only", [{"top_k": 1}, {"top_p": 1e-6}])
def test_chance_within_the_likeliest_token_is_none(
    engine: Engine, expected: dict[str, dict[str, object]], only: dict[str, float]
) -> None:
    answer = engine.post("/v1/completions", prompt=PROMPTS[4], max_tokens=TOKENS, temperature=2, **only)
    assert answer["choices"][0]["text"] == expected[PROMPTS[4]]["text"]


def test_a_repetition_penalty_ends_repetition(engine: Engine) -> None:
    asked = {"prompt": PROMPTS[0], "max_tokens": 30, "ignore_eos": True, "temperature": 0}
    plain = engine.post("/v1/completions", **asked)["choices"][0]["text"]
    varied = engine.post("/v1/completions", **asked, repetition_penalty=5)["choices"][0]["text"]
    assert varied != plain


def test_a_stop_text_ends_the_answer_and_is_not_in_it(engine: Engine) -> None:
    asked = {"prompt": PROMPTS[1], "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
    whole = engine.post("/v1/completions", **asked)["choices"][0]["text"]
    stop = whole[len(whole) // 2 :][:3]
    answer = engine.post("/v1/completions", **asked, stop=[stop])
    choice = answer["choices"][0]
    assert choice["text"] == whole[: whole.index(stop)]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", stop)
    streamed = engine.events("/v1/completions", **asked, stop=[stop])
    assert "".join(each["choices"][0]["text"] for each in streamed) == choice["text"]


def test_several_prompts_and_token_ids_are_answered_in_order(engine: Engine) -> None:
    ids = [engine.post("/tokenize", prompt=prompt)["tokens"] for prompt in PROMPTS[:3]]
    by_text = engine.post("/v1/completions", prompt=PROMPTS[:3], n=2, temperature=0)
    by_ids = engine.post("/v1/completions", prompt=ids, n=2, temperature=0)
    assert [each["index"] for each in by_text["choices"]] == list(range(6))
    assert by_text["choices"] == by_ids["choices"]
    assert by_text["usage"] == by_ids["usage"]


def test_tokens_are_read_and_spelled(engine: Engine) -> None:
    read = engine.post("/tokenize", prompt="the sea", return_token_strs=True)
    assert read["count"] == len(read["tokens"]) == len(read["token_strs"])
    assert read["token_strs"][-1] == "</s>"
    assert read["max_model_len"] == 256
    assert engine.post("/detokenize", tokens=read["tokens"][:-1])["prompt"] == "the sea"
    chat = engine.post("/tokenize", messages=[{"role": "user", "content": "the sea"}])
    assert chat["tokens"] == read["tokens"]


@pytest.mark.parametrize(
    ("path", "body", "param", "says"),
    [
        ("/v1/completions", {"prompt": "Paris " * 400}, "prompt", "truncate_prompt_tokens"),
        ("/v1/completions", {"prompt": [5000]}, "prompt", "token id"),
        ("/v1/completions", {"prompt": "a", "max_tokens": 257}, "max_tokens", "at most 256"),
        ("/v1/completions", {"prompt": "a", "logprobs": 2}, "logprobs", "not offered"),
        ("/v1/completions", {"prompt": "a", "use_beam_search": True}, "use_beam_search", "not offered"),
        ("/v1/completions", {"prompt": "a", "frequency_penalty": 0.5}, "frequency_penalty", "not offered"),
        ("/v1/completions", {"prompt": "a", "no_such_field": 1}, "no_such_field", "not offered"),
        ("/v1/completions", {"prompt": "a", "temperature": "hot"}, "temperature", "number"),
        ("/v1/completions", {}, "prompt", "missing"),
        ("/v1/chat/completions", {"messages": []}, "messages", "empty"),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
            "text",
        ),
        ("/detokenize", {"tokens": [5000]}, "tokens", "or above"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    engine: Engine, path: str, body: dict[str, object], param: str, says: str
) -> None:
    status, error = engine.refused(path, **body)
    assert (status, error["param"], error["type"]) == (400, param, "invalid_request_error")
    assert says in error["message"]


def test_a_long_prompt_is_cut_on_request(engine: Engine) -> None:
    answer = engine.post("/v1/completions", prompt="Paris " * 400, truncate_prompt_tokens=-1)
    assert answer["usage"]["prompt_tokens"] == 256


def test_values_that_change_nothing_are_taken(engine: Engine) -> None:
    neutral = {"frequency_penalty": 0, "presence_penalty": 0.0, "logprobs": None, "best_of": 1, "user": "x"}
    plain = engine.post("/v1/completions", prompt=PROMPTS[2])["choices"]
    assert engine.post("/v1/completions", prompt=PROMPTS[2], **neutral)["choices"] == plain


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/completions", b"{", 400),
        ("POST", "/v1/completions", b"[1]", 400),
        ("POST", "/v1/completions", {"model": "other", "prompt": "a"}, 404),
        ("POST", "/classify", {"input": "a"}, 404),
        ("POST", "/v1/embeddings", {"input": "a"}, 404),
        ("POST", "/invocations", {}, 404),
    ],
)
def test_every_refusal_has_the_envelope(
    engine: Engine, method: str, path: str, body: object, status: int
) -> None:
    found, document = engine.ask(method, path, body)
    assert found == status
    assert set(document["error"]) == {"message", "type", "param", "code"}


def test_the_key_is_asked_for(engine: Engine) -> None:
    assert engine.ask("GET", "/v1/models", key=None)[0] == 401
    assert engine.ask("POST", "/v1/completions", {"prompt": "a"}, key="other")[0] == 401
    card = engine.ask("GET", "/v1/models")[1]["data"][0]
    assert (card["id"], card["max_model_len"]) == ("t5", 256)


def test_a_client_that_leaves_frees_its_place(engine: Engine) -> None:
    before = engine.metric("request_success_total", finished_reason="abort")
    written = engine.metric("generation_tokens_total")
    for stream in (False, True):
        body = {"model": MODEL, "prompt": PROMPTS[0], "max_tokens": 256, "n": 32, "ignore_eos": True}
        data = json.dumps(body | {"temperature": 1, "stream": stream}).encode()
        with socket.create_connection(("127.0.0.1", engine.port)) as client:
            head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
            client.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            until(lambda: engine.metric("num_requests_running") > 0, "it runs")
        until(lambda: engine.metric("num_requests_running") == 0, "its place is free")
    assert engine.metric("request_success_total", finished_reason="abort") == before + 64
    assert engine.metric("generation_tokens_total") - written < 2 * 32 * 256 / 2
    assert engine.post("/v1/completions", prompt=PROMPTS[0])["choices"][0]["text"]
