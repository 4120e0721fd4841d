"""How sure a figure is, and whether two models differ: the bootstrap over rows, and McNemar's test."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan, sqrt
from typing import Any

import numpy as np

from slipway.training.evaluation.measures import Array, Better, Measure

RESAMPLES = 1000
LEVEL = 0.95
_TOGETHER = 2_000_000
"""Weights that are held in memory at a time."""


@dataclass(frozen=True, slots=True)
class Score:
    """A figure and its interval."""

    value: float
    low: float = float("nan")
    high: float = float("nan")
    """Ends of the interval; NaN where there is none."""
    count: int = 0
    """Rows that it is about."""
    better: Better = "higher"

    def document(self) -> dict[str, Any]:
        """As JSON, which has no NaN."""
        interval = None if isnan(self.low) else [self.low, self.high]
        return {
            "value": None if isnan(self.value) else self.value,
            "interval": interval,
            "count": self.count,
            "better": self.better,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of two models over the same rows."""

    ours: float
    theirs: float
    difference: float
    """ours - theirs."""
    low: float
    high: float
    """Ends of the difference's interval."""
    p: float
    """Two-sided: how often chance alone would show such a difference."""
    test: str
    better: Better
    count: int

    @property
    def gain(self) -> float:
        """The difference, positive where ours is better."""
        return self.difference if self.better == "higher" else -self.difference


def resamples(rows: int, count: int = RESAMPLES, seed: int = 0, width: int = 0) -> Iterator[Array]:
    """How often each row is drawn in each resample of the bootstrap: arrays [some resamples, rows].

    Args:
        width: columns that each resample takes in memory, if more than the rows
    """
    generator = np.random.default_rng(seed)
    chunk = max(1, min(count, _TOGETHER // max(rows, width, 1)))
    shares = np.full(rows, 1 / rows)
    for begin in range(0, count, chunk):
        yield generator.multinomial(rows, shares, size=min(chunk, count - begin)).astype(float)


def score(
    measure: Measure,
    count: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
    members: Array | None = None,
) -> Score:
    """A measure's value with its percentile interval; Wilson's for a share of none or all.

    Args:
        members: which rows it is about [rows], True or False; all if left out
    """
    at = np.arange(measure.count) if members is None else np.flatnonzero(members)
    rows = None if measure.rows is None else measure.rows[at]
    if rows is not None and _decided(rows) and len(np.unique(rows)) == 1:
        # Where all rows are right, so is each resample of them, which would make them look certain.
        return proportion(int(rows.sum()), len(rows), measure.better)
    drawn = []
    for weights in resamples(len(at), count, seed, measure.count):
        spread = np.zeros((len(weights), measure.count))
        spread[:, at] = weights
        drawn.append(measure.values(spread))
    low, high = _ends(np.concatenate(drawn), level)
    value = measure.value if members is None else measure.over(members)
    return Score(value, low, high, len(at), measure.better)


def proportion(hits: int, count: int, better: Better = "lower") -> Score:
    """A share with Wilson's interval at 95 %, which is honest for few rows and for none or all of them."""
    if not count:
        return Score(float("nan"), count=0, better=better)
    z = 1.959963984540054
    share, scale = hits / count, 1 + z**2 / count
    middle = (share + z**2 / (2 * count)) / scale
    half = z * sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / scale
    # Exactly 0 and 1 where rounding would leave a hair.
    low, high = (middle - half if hits else 0.0), (middle + half if hits < count else 1.0)
    return Score(share, low, high, count, better)


def compare(
    ours: Measure, theirs: Measure, count: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> Comparison:
    """Whether two models differ, both measured over the same rows in the same order.

    Rows that are right or wrong are compared by McNemar's exact test; all else by the paired bootstrap, whose
    p value is the share of resamples whose difference strays from the mean as far as the one observed
    (Riezler and Maxwell 2005; sacrebleu's is the same on one side).

    Raises:
        ValueError: the rows are not the same number.
    """
    if ours.count != theirs.count:
        raise ValueError(f"{ours.count} rows beside {theirs.count}")
    drawn = np.concatenate(
        [ours.values(weights) - theirs.values(weights) for weights in resamples(ours.count, count, seed)]
    )
    low, high = _ends(drawn, level)
    one, other = ours.value, theirs.value
    if _decided(ours.rows) and _decided(theirs.rows):
        p, test = mcnemar(ours.rows, theirs.rows), "McNemar, exact"
    else:
        known = drawn[~np.isnan(drawn)]
        strays = np.abs(known - known.mean()) >= abs(one - other) if len(known) else np.ones(1)
        p, test = float((strays.sum() + 1) / (len(strays) + 1)), f"paired bootstrap, {count} resamples"
    if one == other:
        p = 1.0
    return Comparison(one, other, one - other, low, high, p, test, ours.better, ours.count)


def mcnemar(ours: Array, theirs: Array) -> float:
    """Two-sided p value of McNemar's exact test for rows [rows] of zeros and ones."""
    from scipy.stats import binomtest

    won = int(((ours == 1) & (theirs == 0)).sum())
    lost = int(((ours == 0) & (theirs == 1)).sum())
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def _decided(rows: Array | None) -> bool:
    return rows is not None and bool(np.isin(rows, (0.0, 1.0)).all())


def _ends(drawn: Array, level: float) -> tuple[float, float]:
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
