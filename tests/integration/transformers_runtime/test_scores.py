"""A cross-encoder that scores pairs."""

import pytest

from integration.transformers_runtime.engines import Engine, Reference
from integration.transformers_runtime.judging import TEXTS, check_batching

MODEL, TASK = "cross", "score"
QUERY = "What is the capital of France?"


@pytest.fixture(scope="module")
def expected(reference: Reference) -> list[float]:
    found: list[float] = reference.ask(MODEL, "score", pairs=[[QUERY, text] for text in TEXTS])
    return found


def test_scores_are_those_of_transformers(engine: Engine, expected: list[float]) -> None:
    answer = engine.post("/score", text_1=QUERY, text_2=TEXTS)
    assert [each["score"] for each in answer["data"]] == pytest.approx(expected, abs=1e-4)
    assert [(each["index"], each["object"]) for each in answer["data"]] == [
        (index, "score") for index in range(len(TEXTS))
    ]
    named = engine.post("/score", queries=[QUERY] * len(TEXTS), documents=TEXTS)
    assert [each["score"] for each in named["data"]] == pytest.approx(expected, abs=1e-4)
    assert named["usage"] == answer["usage"]


def test_documents_are_ordered_by_their_scores(engine: Engine, expected: list[float]) -> None:
    answer = engine.post("/rerank", query=QUERY, documents=TEXTS, top_n=2)
    order = sorted(range(len(TEXTS)), key=lambda index: -expected[index])[:2]
    assert set(answer) == {"id", "model", "usage", "results"}
    assert [each["index"] for each in answer["results"]] == order
    assert [each["document"]["text"] for each in answer["results"]] == [TEXTS[index] for index in order]
    assert [each["relevance_score"] for each in answer["results"]] == pytest.approx(
        [expected[index] for index in order], abs=1e-4
    )
    assert len(engine.post("/rerank", query=QUERY, documents=TEXTS)["results"]) == len(TEXTS)


def test_concurrent_requests_share_forward_passes(engine: Engine) -> None:
    check_batching(engine, "/score", {"text_1": QUERY, "text_2": TEXTS}, len(TEXTS))


def test_a_classifier_of_one_label_gives_its_probability(engine: Engine) -> None:
    found = engine.post("/classify", input="great")["data"][0]
    assert found["num_classes"] == 1
    assert 0 < found["probs"][0] < 1


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/score", {"text_1": "a"}, "text_1"),
        ("/score", {"text_1": "a", "documents": "b"}, "text_1"),
        ("/score", {"text_1": ["a", "b"], "text_2": ["c", "d", "e"]}, "text_1"),
        ("/score", {"text_1": "a", "text_2": "sea " * 200}, "text_2"),
        ("/rerank", {"query": "a", "documents": ["b"], "max_tokens_per_doc": 4}, "max_tokens_per_doc"),
        ("/rerank", {"query": "a"}, "documents"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    engine: Engine, path: str, body: dict[str, object], param: str
) -> None:
    status, error = engine.refused(path, **body)
    assert (status, error["param"]) == (400, param)
