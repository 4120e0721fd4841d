"""A BERT that labels texts."""

from math import exp

import pytest

from integration.transformers_runtime.engines import Engine, Reference
from integration.transformers_runtime.judging import TEXTS, check_batching, check_labels

MODEL, TASK = "bert", "classify"


def test_labels_are_those_of_transformers(engine: Engine, reference: Reference) -> None:
    check_labels(engine, reference, MODEL)


def test_concurrent_requests_share_forward_passes(engine: Engine) -> None:
    check_batching(engine, "/classify", {"input": TEXTS}, len(TEXTS))


def test_raw_outputs_become_the_probabilities(engine: Engine) -> None:
    chances = engine.post("/classify", input=TEXTS[0])["data"][0]["probs"]
    raw = engine.post("/classify", input=TEXTS[0], use_activation=False)["data"][0]["probs"]
    powers = [exp(each) for each in raw]
    assert chances == pytest.approx([each / sum(powers) for each in powers], abs=1e-6)
    assert raw != chances


def test_token_ids_are_taken_as_they_are(engine: Engine) -> None:
    ids = engine.post("/tokenize", prompt=TEXTS[1])["tokens"]
    by_ids = engine.post("/classify", input=[ids, ids[:4]])
    by_text = engine.post("/classify", input=TEXTS[1])["data"][0]
    assert by_ids["data"][0]["probs"] == pytest.approx(by_text["probs"], abs=1e-5)
    assert by_ids["usage"]["prompt_tokens"] == len(ids) + 4


def test_texts_and_token_ids_share_a_batch(engine: Engine) -> None:
    ids = engine.post("/tokenize", prompt=TEXTS[1])["tokens"]
    answers = engine.at_once("/classify", [{"input": TEXTS[1]}, {"input": ids}] * 8)
    labels = {each["data"][0]["label"] for each in answers}
    assert len(labels) == 1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "sea " * 200}, "input"),
        ({"input": [99999]}, "input"),
        ({"input": []}, "input"),
        ({}, "input"),
        ({"input": "a", "truncation_side": "left"}, "truncation_side"),
        ({"messages": []}, "messages"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    engine: Engine, body: dict[str, object], param: str
) -> None:
    status, error = engine.refused("/classify", **body)
    assert (status, error["param"]) == (400, param)


def test_a_long_text_is_cut_on_request(engine: Engine) -> None:
    answer = engine.post("/classify", input="sea " * 200, truncate_prompt_tokens=16)
    assert answer["usage"]["prompt_tokens"] == 16
    same = engine.post("/classify", input="sea " * 14)
    assert answer["data"][0]["probs"] == pytest.approx(same["data"][0]["probs"], abs=1e-5)
