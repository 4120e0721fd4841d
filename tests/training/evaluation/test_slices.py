"""Slices and the gaps between groups."""

import numpy as np
import pytest
from sklearn.metrics import recall_score

from slipway.training.evaluation.examples import Example, Prediction
from slipway.training.evaluation.questions import Reply
from slipway.training.evaluation.slices import gaps, slices


def rows(group: str, count: int, wanted: str, got: str) -> list[Prediction]:
    return [
        Prediction(Example("", "classify", reference=wanted, slices={"g": group}), Reply(got))
        for _ in range(count)
    ]


def test_slices_are_the_values_of_a_field_the_largest_first_and_small_ones_are_marked() -> None:
    examples = [
        Example("", "classify", slices={"g": value} if value else {}) for value in "b" * 40 + "a" * 5
    ] + [Example("", "classify")]
    found = slices(examples, ["g", "nothing"])
    assert [(each.value, each.count, each.small) for each in found] == [("b", 40, False), ("a", 5, True)]


def test_gaps_are_those_of_rates_and_of_recalls() -> None:
    predictions = [
        *rows("x", 30, "yes", "yes"), *rows("x", 10, "yes", "no"), *rows("x", 20, "no", "no"),
        *rows("y", 20, "yes", "yes"), *rows("y", 20, "yes", "no"), *rows("y", 20, "no", "yes"),
        *rows("z", 3, "yes", "no"),
    ]  # fmt: skip
    found = gaps(predictions, slices([each.example for each in predictions], ["g"]))
    # Shares that are given "yes": 30 of 60 and 40 of 60; z is too small to count.
    assert found["demographic_parity"] == pytest.approx(10 / 60)
    recalls = []
    for group in "xy":
        own = [each for each in predictions if each.example.slices["g"] == group]
        wanted, got = [each.example.reference for each in own], [each.answer.text for each in own]
        recalls.append(recall_score(wanted, got, average=None, labels=["no", "yes"]))
    assert found["equal_opportunity"] == pytest.approx(np.abs(recalls[0] - recalls[1]).max())


def test_one_group_has_no_gap() -> None:
    predictions = rows("x", 40, "yes", "no")
    assert gaps(predictions, slices([each.example for each in predictions], ["g"])) == {
        "demographic_parity": 0.0,
        "equal_opportunity": 0.0,
    }
