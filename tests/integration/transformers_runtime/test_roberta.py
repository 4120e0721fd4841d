"""A RoBERTa that labels tokens."""

import pytest

from integration.transformers_runtime.engines import Engine, Reference
from integration.transformers_runtime.judging import TEXTS, check_batching

MODEL, TASK = "roberta", "classify"
ODD = "Größe in 東京 😀\n\tand   Berlin"


def test_entities_are_those_of_the_pipeline(engine: Engine, reference: Reference) -> None:
    texts = [*TEXTS, ODD]
    answer = engine.post("/classify", input=texts)
    assert answer["object"] == "list"
    kinds = set()
    for index, (text, found) in enumerate(zip(texts, answer["data"], strict=True)):
        wanted = reference.ask(MODEL, "entities", text=text)
        assert set(found) == {"index", "entities"}
        assert found["index"] == index
        assert [{**each, "score": 0, "text": ""} for each in found["entities"]] == [
            {**each, "score": 0, "text": ""} for each in wanted
        ]
        assert [each["score"] for each in found["entities"]] == pytest.approx(
            [each["score"] for each in wanted], abs=1e-4
        )
        for each in found["entities"]:
            assert each["text"] == text[each["start"] : each["end"]]
            kinds.add(each["label"])
    assert kinds == {"PER", "LOC"}


def test_concurrent_requests_share_forward_passes(engine: Engine) -> None:
    check_batching(engine, "/classify", {"input": TEXTS}, len(TEXTS))


@pytest.mark.parametrize(("body", "param"), [({"input": [1, 2]}, "input"), ({"input": "sea " * 50}, "input")])
def test_what_cannot_be_labelled_is_refused(engine: Engine, body: dict[str, object], param: str) -> None:
    status, error = engine.refused("/classify", **body)
    assert (status, error["param"]) == (400, param)


def test_its_places_begin_after_the_padding(engine: Engine) -> None:
    """128 positions, of which the first is the padding's."""
    assert engine.ask("GET", "/v1/models")[1]["data"][0]["max_model_len"] == 127
    assert engine.post("/classify", input="a" * 124)["usage"]["prompt_tokens"] == 127
