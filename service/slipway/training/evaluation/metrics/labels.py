"""How well labels are told, and how well their probabilities are meant."""

from collections.abc import Callable, Sequence

import numpy as np

from slipway.training.evaluation.examples import Prediction
from slipway.training.evaluation.measures import Array, Measure, divided, mean, summed
from slipway.training.evaluation.metrics.texts import plain

BINS = 15
"""Of the calibration error, as in Guo et al. 2017."""


def accuracy(predictions: Sequence[Prediction]) -> Measure:
    """Share of right labels."""
    return mean([_got(each) == _wanted(each) for each in predictions])


def precision_macro(predictions: Sequence[Prediction]) -> Measure:
    """Mean over the labels: right ones among those that were given."""
    return _macro(predictions, lambda right, given, there: divided(right, given))


def recall_macro(predictions: Sequence[Prediction]) -> Measure:
    """Mean over the labels: right ones among those that are there."""
    return _macro(predictions, lambda right, given, there: divided(right, there))


def f1_macro(predictions: Sequence[Prediction]) -> Measure:
    """Mean over the labels of their F1."""
    return _macro(predictions, _f1)


def f1_weighted(predictions: Sequence[Prediction]) -> Measure:
    """Mean over the labels of their F1, each weighing as often as it is there."""
    labels = labels_of(predictions)

    def finish(sums: Array) -> Array:
        right, given, there = np.split(sums, 3, axis=1)
        return divided((_f1(right, given, there) * there).sum(axis=1), there.sum(axis=1))

    return summed(_counts(predictions, labels), finish)


def precision_micro(predictions: Sequence[Prediction]) -> Measure:
    """Right labels among all that were given and are labels at all."""
    return _micro(predictions, lambda right, given, there: divided(right, given))


def recall_micro(predictions: Sequence[Prediction]) -> Measure:
    """Right labels among all that are there."""
    return _micro(predictions, lambda right, given, there: divided(right, there))


def f1_micro(predictions: Sequence[Prediction]) -> Measure:
    """F1 over all labels together. It is the accuracy where every answer is one of the labels."""
    return _micro(predictions, _f1)


def per_label(predictions: Sequence[Prediction]) -> dict[str, dict[str, Measure]]:
    """Precision, recall and F1 of each label."""
    labels = labels_of(predictions)
    counts, found = _counts(predictions, labels), {}
    for at, label in enumerate(labels):
        own = counts[:, [at, at + len(labels), at + 2 * len(labels)]]
        found[label] = {
            "precision": summed(own, lambda sums: divided(sums[:, 0], sums[:, 1])),
            "recall": summed(own, lambda sums: divided(sums[:, 0], sums[:, 2])),
            "f1": summed(own, lambda sums: _f1(sums[:, 0], sums[:, 1], sums[:, 2])),
        }
    return found


def auc(predictions: Sequence[Prediction]) -> Measure:
    """Area under the ROC curve by the labels' probabilities; with more than two labels each against the
    rest, their mean (macro)."""
    labels = sorted(
        {label for each in predictions for label in each.answer.scores} | set(labels_of(predictions))
    )
    wanted = np.array([_wanted(each) for each in predictions])
    counted = labels[1:] if len(labels) == 2 else labels
    curves = [
        _area(np.array([each.answer.scores.get(label, 0.0) for each in predictions]), wanted == label)
        for label in counted
    ]

    def values(weights: Array) -> Array:
        return np.mean([curve(weights) for curve in curves], axis=0)

    return Measure(len(predictions), values)


def ece(predictions: Sequence[Prediction]) -> Measure:
    """Expected calibration error: over 15 equal bins of the top label's probability, the sum of
    `share of rows in the bin * |accuracy - mean probability|` (Guo et al. 2017)."""
    confidences, right, bins = calibration(predictions)
    rows = np.arange(len(predictions))
    statistics = np.zeros((len(predictions), 3 * BINS))
    statistics[rows, bins] = 1
    statistics[rows, BINS + bins] = confidences
    statistics[rows, 2 * BINS + bins] = right

    def finish(sums: Array) -> Array:
        count, confidence, correct = np.split(sums, 3, axis=1)
        return divided(np.abs(correct - confidence).sum(axis=1), count.sum(axis=1), np.nan)

    return summed(statistics, finish, "lower")


def brier(predictions: Sequence[Prediction]) -> Measure:
    """Brier score: mean squared distance of the labels' probabilities from the truth, 0 to 2."""
    return mean([_brier(each.answer.scores, _wanted(each)) for each in predictions], "lower")


def calibration(predictions: Sequence[Prediction]) -> tuple[Array, Array, Array]:
    """Probability of the top label, whether it is right, and its bin (0 to 14; a bin holds its upper end)."""
    confidences = np.array([max(each.answer.scores.values()) for each in predictions])
    right = np.array(
        [
            max(each.answer.scores.items(), key=lambda pair: pair[1])[0] == _wanted(each)
            for each in predictions
        ]
    )
    bins = np.clip(np.ceil(confidences * BINS).astype(int) - 1, 0, BINS - 1)
    return confidences, right, bins


def labels_of(predictions: Sequence[Prediction]) -> list[str]:
    """The labels that are right for at least one row, sorted."""
    return sorted({_wanted(each) for each in predictions})


def _got(prediction: Prediction) -> str:
    return plain(prediction.answer.text)


def _wanted(prediction: Prediction) -> str:
    return plain(prediction.example.reference)


def _f1(right: Array, given: Array, there: Array) -> Array:
    return divided(2 * right, given + there)


def _counts(predictions: Sequence[Prediction], labels: Sequence[str]) -> Array:
    """[rows, 3 * labels]: whether the label is right, given, there."""
    got, wanted = np.array([_got(each) for each in predictions]), np.array([_wanted(p) for p in predictions])
    known = np.array(labels)
    given, there = got[:, None] == known, wanted[:, None] == known
    return np.concatenate([given & there, given, there], axis=1).astype(float)


def _macro(predictions: Sequence[Prediction], score: Callable[[Array, Array, Array], Array]) -> Measure:
    labels = labels_of(predictions)

    def finish(sums: Array) -> Array:
        right, given, there = np.split(sums, 3, axis=1)
        # A label that a resample or slice neither gives nor has says nothing about it.
        seen = (given + there) > 0
        return divided((score(right, given, there) * seen).sum(axis=1), seen.sum(axis=1))

    return summed(_counts(predictions, labels), finish)


def _micro(predictions: Sequence[Prediction], score: Callable[[Array, Array, Array], Array]) -> Measure:
    labels = labels_of(predictions)

    def finish(sums: Array) -> Array:
        right, given, there = (part.sum(axis=1) for part in np.split(sums, 3, axis=1))
        return score(right, given, there)

    return summed(_counts(predictions, labels), finish)


def _area(scores: Array, positive: Array) -> Callable[[Array], Array]:
    """The area under one ROC curve as a function of weights: how often a positive stands above a negative."""
    order = np.argsort(scores, kind="stable")
    ranked, truth = scores[order], positive[order].astype(float)
    groups = np.flatnonzero(np.diff(ranked, prepend=-np.inf))  # Where each run of equal scores begins.

    def values(weights: Array) -> Array:
        drawn = weights[:, order]
        above = np.add.reduceat(drawn * truth, groups, axis=1)
        below = np.add.reduceat(drawn * (1 - truth), groups, axis=1)
        passed = np.cumsum(below, axis=1) - below / 2  # Ties count half.
        return divided((above * passed).sum(axis=1), above.sum(axis=1) * below.sum(axis=1), np.nan)

    return values


def _brier(scores: dict[str, float], wanted: str) -> float:
    others = sum(score**2 for label, score in scores.items() if label != wanted)
    return others + (1 - scores.get(wanted, 0.0)) ** 2
