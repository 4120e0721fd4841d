"""A sliding window over a measured value: bounded, immutable, and plain data to write down."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

BUCKETS = 60
"""Buckets a window is kept in, whatever its width."""


class Bucket(NamedTuple):
    """What was measured from `start` (seconds) on."""

    start: float
    times: int
    total: float
    low: float
    high: float


@dataclass(frozen=True)
class Window:
    """Values of the last `width` seconds. Forgets by whole buckets: up to a sixtieth of the width late."""

    buckets: tuple[Bucket, ...] = ()

    def record(self, now: float, value: float, width: float) -> "Window":
        """With `value` measured at `now`, and without what is older than `width` seconds.

        A clock that steps back adds to the newest bucket.
        """
        kept = self.since(now - width, width).buckets
        if kept and now - kept[-1].start < width / BUCKETS:
            last = kept[-1]
            merged = Bucket(
                last.start, last.times + 1, last.total + value, min(last.low, value), max(last.high, value)
            )
            return Window((*kept[:-1], merged))
        return Window((*kept, Bucket(now, 1, value, value, value)))

    def since(self, begin: float, width: float) -> "Window":
        """The buckets that reach past `begin`."""
        return Window(tuple(bucket for bucket in self.buckets if bucket.start + width / BUCKETS > begin))

    @property
    def mean(self) -> float | None:
        """Over time: every bucket counts alike, however often was measured in it. None of an empty window."""
        if not self.buckets:
            return None
        return sum(bucket.total / bucket.times for bucket in self.buckets) / len(self.buckets)

    @property
    def low(self) -> float | None:
        return min((bucket.low for bucket in self.buckets), default=None)

    @property
    def high(self) -> float | None:
        return max((bucket.high for bucket in self.buckets), default=None)

    def to_list(self) -> list[list[float]]:
        """Plain JSON."""
        return [list(bucket) for bucket in self.buckets]

    @classmethod
    def from_list(cls, rows: Sequence[Sequence[float]]) -> "Window":
        """What `to_list` wrote."""
        return cls(
            tuple(Bucket(start, int(times), total, low, high) for start, times, total, low, high in rows)
        )
