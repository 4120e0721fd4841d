"""A metric over rows as a function of the rows' weights, from which intervals, slices and tests all follow.

A resample of the bootstrap counts a row as often as it was drawn, a slice counts those that belong to it:
both are weights. What a row adds is worked out once; a thousand resamples are one product of matrices.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

Array: TypeAlias = Any
"""A numpy array."""
Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric over given rows."""

    count: int
    """Rows."""
    values: Callable[[Array], Array]
    """From weights [resamples, rows] to values [resamples]; NaN where nothing is left to measure."""
    better: Better = "higher"
    rows: Array | None = None
    """The value of each row [rows], of a metric that is their mean."""

    @property
    def value(self) -> float:
        """Over all rows alike."""
        return float(self.values(np.ones((1, self.count)))[0])

    def over(self, members: Sequence[bool] | Array) -> float:
        """Over those rows that are members [rows]."""
        return float(self.values(np.asarray(members, dtype=float)[None, :])[0])


def mean(rows: Sequence[float] | Array, better: Better = "higher") -> Measure:
    """The mean over rows; NaN marks a row that does not count."""
    values = np.asarray(rows, dtype=float)
    there = ~np.isnan(values)
    filled = np.where(there, values, 0.0)
    return ratio(filled, there.astype(float), better, rows=values)


def ratio(
    above: Sequence[float] | Array,
    below: Sequence[float] | Array,
    better: Better = "higher",
    rows: Array | None = None,
    finish: Callable[[Array], Array] = lambda value: value,
) -> Measure:
    """The sum of one figure of the rows divided by the sum of another, then `finish`."""
    top, bottom = np.asarray(above, dtype=float), np.asarray(below, dtype=float)

    def values(weights: Array) -> Array:
        return finish(divided(weights @ top, weights @ bottom, np.nan))

    return Measure(len(top), values, better, rows)


def summed(
    statistics: Array, finish: Callable[[Array], Array], better: Better = "higher", rows: Array | None = None
) -> Measure:
    """What `finish` makes of the rows' summed statistics: [rows, k] -> [resamples, k] -> [resamples]."""
    matrix = np.asarray(statistics, dtype=float)

    def values(weights: Array) -> Array:
        sums = weights @ matrix
        return np.where(weights.sum(axis=1) > 0, finish(sums), np.nan)

    return Measure(len(matrix), values, better, rows)


def divided(above: Array, below: Array, otherwise: float = 0.0) -> Array:
    """A quotient, and `otherwise` where nothing is to be divided by."""
    result = np.full(np.broadcast(above, below).shape, otherwise, dtype=float)
    return np.divide(above, below, out=result, where=below != 0)
