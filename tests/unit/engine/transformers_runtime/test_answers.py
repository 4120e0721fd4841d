"""The shapes of answers, and the numbers in them."""

import base64
import struct
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.engine.transformers_runtime import answers
from slipway.engine.transformers_runtime.entities import Token, group

FLOATS = st.floats(-200, 200)


@given(st.lists(FLOATS, min_size=2, max_size=9))
def test_probabilities_of_classes_sum_to_one(logits: list[float]) -> None:
    chances = answers.activated(logits, "softmax")
    assert sum(chances) == pytest.approx(1)
    assert chances.index(max(chances)) == logits.index(max(logits)) or max(chances) == pytest.approx(
        chances[logits.index(max(logits))]
    )


@given(FLOATS)
def test_a_sigmoid_never_overflows(logit: float) -> None:
    (chance,) = answers.activated([logit], "sigmoid")
    assert chance == pytest.approx(1 / (1 + exp(-logit)))


def test_documents_of_the_same_score_keep_their_order() -> None:
    told = answers.reranked("id", "m", ["a", "b", "c"], [0.5, 0.9, 0.5], 0, 7)
    assert [each["index"] for each in told["results"]] == [1, 0, 2]
    assert told["usage"] == {"prompt_tokens": 7, "total_tokens": 7}


def test_vectors_in_base64_are_32_bit_floats() -> None:
    told = answers.embedded(0, [0.5, -2.0], "base64")["embedding"]
    assert struct.unpack("<2f", base64.b64decode(told)) == (0.5, -2.0)


def tokens(*labels: str) -> list[Token]:
    return [Token(label, 0.5 + place / 100, place * 2, place * 2 + 1) for place, label in enumerate(labels)]


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ((), []),
        (("O", "O"), []),
        (("B-PER", "I-PER", "O", "B-LOC"), [("PER", 0, 3), ("LOC", 6, 7)]),
        (("I-PER", "I-PER"), [("PER", 0, 3)]),
        (("B-PER", "B-PER"), [("PER", 0, 1), ("PER", 2, 3)]),
        (("I-PER", "I-LOC", "I-LOC"), [("PER", 0, 1), ("LOC", 2, 5)]),
        (("PER", "PER", "LOC"), [("PER", 0, 3), ("LOC", 4, 5)]),
    ],
)
def test_neighbours_of_one_label_are_one_entity(
    labels: tuple[str, ...], found: list[tuple[str, int, int]]
) -> None:
    assert [(each.label, each.start, each.end) for each in group(tokens(*labels))] == found


def test_an_entitys_score_is_the_mean_of_its_tokens() -> None:
    (entity,) = group(tokens("B-PER", "I-PER"))
    assert entity.score == pytest.approx(0.505)
