"""Gates: what stops a release, and what it says."""

import pytest

from slipway.objects.finetunes import Gate
from slipway.training.errors import EvaluationError, GateError
from slipway.training.evaluation import gates
from slipway.training.evaluation.gates import Rival
from slipway.training.evaluation.intervals import Comparison, Score

SCORES = {"exact_match": Score(0.42), "perplexity": Score(9.5), "auc": Score(float("nan"))}


def compared(difference: float, p: float, better: str = "higher") -> Comparison:
    return Comparison(0.42, 0.42 - difference, difference, 0, 0, p, "McNemar, exact", better, 10)  # type: ignore[arg-type]


def verdicts(
    text: str, comparison: Comparison | None = None, rivals: tuple[Rival, ...] = ("base", "deployed")
) -> list[bool]:
    gate = gates.written(text)
    over = {gate.over: {gate.metric: comparison}} if gate.over and comparison else {}
    return [each.passed for each in gates.decided([gate], SCORES, over, rivals)]


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("exact_match>=0.42", True),
        ("exact_match >= 0.43", False),
        ("perplexity<=9.5", True),
        ("perplexity<=9", False),
        ("auc>=0", False),  # It could not be told.
        ("bleu>=0", False),  # It was not measured.
    ],
)
def test_bounds(text: str, passed: bool) -> None:
    assert verdicts(text) == [passed]


@pytest.mark.parametrize(
    ("text", "comparison", "passed"),
    [
        ("exact_match>base", compared(0.2, 0.01), True),
        ("exact_match>base", compared(0.2, 0.2), False),  # Better, but perhaps by chance.
        ("exact_match>base", compared(-0.2, 0.01), False),
        ("exact_match>base", compared(-0.2, 0.01, "lower"), True),  # Less is better.
        ("exact_match>=deployed", compared(0, 1), True),
        ("exact_match>=deployed", compared(-0.2, 0.2), True),  # Worse, but perhaps by chance.
        ("exact_match>=deployed", compared(-0.2, 0.01), False),
    ],
)
def test_comparisons(text: str, comparison: Comparison, passed: bool) -> None:
    assert verdicts(text, comparison) == [passed]


def test_with_nothing_deployed_nothing_can_be_worse_than_it() -> None:
    assert verdicts("exact_match>=deployed", rivals=()) == [True]
    assert verdicts("exact_match>=deployed", rivals=("deployed",)) == [False]
    assert verdicts("exact_match>base", rivals=()) == [False]


def test_the_error_names_each_metric_its_value_and_its_bound() -> None:
    asked = [gates.written(text) for text in ("exact_match>=0.9", "perplexity<=10", "perplexity<=5")]
    results = gates.decided(asked, SCORES, {}, ())
    with pytest.raises(GateError) as caught:
        gates.require(results)
    assert (
        str(caught.value)
        == "exact_match is 0.42, below the minimum 0.9. perplexity is 9.5, above the maximum 5."
    )
    assert caught.value.reason == "GateFailed"
    assert [(each.metric, each.bound, each.passed) for each in results] == [
        ("exact_match", ">= 0.9", False),
        ("perplexity", "<= 10", True),
        ("perplexity", "<= 5", False),
    ]


def test_a_gate_with_two_bounds_must_hold_both() -> None:
    gate = Gate.model_validate({"metric": "exact_match", "min": "0.1", "max": "0.4"})
    assert [each.passed for each in gates.decided([gate], SCORES, {}, ())] == [True, False]


@pytest.mark.parametrize(
    "text", ["exact_match", "exact_match>0.9", "exact_match>=much", ">=0.9", "a b>=1", "x<=base"]
)
def test_what_is_no_gate_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(EvaluationError, match=r"is no gate; write it as exact_match>=0.9"):
        gates.written(text)
