"""Counters and histograms of the hot path: plain numbers, made into Prometheus' families when scraped.

prometheus_client guards each number with a lock and finds a histogram's bucket by walking over all of them;
nine such calls a request cost as much as parsing its body. These are for one thread, the event loop's.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString


class Tally:
    """One counter."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        """Count."""
        self.value += amount


class Tallies:
    """Counters that differ by their labels."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self._about = (name, documentation)
        self._labels = labels
        self._children: dict[tuple[str, ...], Tally] = {}
        registry.register(self)

    def labels(self, *values: str) -> Tally:
        """The counter with these values."""
        return self._children.setdefault(values, Tally())

    def drop(self, *values: str) -> None:
        """Tell no more of the counter with these values."""
        self._children.pop(values, None)

    def describe(self) -> Iterator[Metric]:
        """The family without numbers."""
        yield CounterMetricFamily(*self._about, labels=self._labels)

    def collect(self) -> Iterator[Metric]:
        """The family as of now."""
        family = CounterMetricFamily(*self._about, labels=self._labels)
        for values, tally in self._children.items():
            family.add_metric(values, tally.value)
        yield family


class Spread:
    """One histogram."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Count a value in the bucket of the smallest bound that is not below it."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def cumulated(self) -> tuple[list[tuple[str, float]], float]:
        """Prometheus' buckets, `le` and how many values are not above it, and the sum of all values."""
        buckets, count = [], 0
        for bound, here in zip((*self._bounds, float("inf")), self._counts, strict=True):
            count += here
            buckets.append((str(floatToGoString(bound)), float(count)))  # type: ignore[no-untyped-call]
        return buckets, self._total


class Spreads:
    """Histograms that differ by their labels."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._about = (name, documentation)
        self._labels = labels
        self._buckets = tuple(buckets)
        self._children: dict[tuple[str, ...], Spread] = {}
        registry.register(self)

    def labels(self, *values: str) -> Spread:
        """The histogram with these values."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = Spread(self._buckets)
        return child

    def drop(self, *values: str) -> None:
        """Tell no more of the histogram with these values."""
        self._children.pop(values, None)

    def describe(self) -> Iterator[Metric]:
        """The family without numbers."""
        yield HistogramMetricFamily(*self._about, labels=self._labels)

    def collect(self) -> Iterator[Metric]:
        """The family as of now."""
        family = HistogramMetricFamily(*self._about, labels=self._labels)
        for values, spread in self._children.items():
            buckets, total = spread.cumulated()
            family.add_metric(values, buckets=buckets, sum_value=total)
        yield family
