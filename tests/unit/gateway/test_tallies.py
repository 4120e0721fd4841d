"""The hot path's own counters tell Prometheus exactly what prometheus_client's would."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from slipway.gateway.tallies import Spreads, Tallies

BOUNDS = (0.5, 1.0, 2.0, 4.0)
LABELS = st.sampled_from(["a", "b", 'odd"\\\n'])
VALUES = st.one_of(st.sampled_from([0.0, *BOUNDS]), st.integers(0, 64).map(lambda eighths: eighths / 8))


def lines(registry: CollectorRegistry) -> list[str]:
    """The text without the times at which series were made."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


@given(st.lists(st.tuples(LABELS, VALUES)))
def test_histograms(observed: list[tuple[str, float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    spreads = Spreads("a_seconds", "What it is", ("of",), buckets=BOUNDS, registry=ours)
    histogram = Histogram("a_seconds", "What it is", ("of",), buckets=BOUNDS, registry=theirs)
    for label, value in observed:
        spreads.labels(label).observe(value)
        histogram.labels(label).observe(value)
    assert lines(ours) == lines(theirs)


@given(st.lists(st.tuples(LABELS, st.integers(0, 10**12))))
def test_counters(counted: list[tuple[str, int]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tallies = Tallies("some", "What it is", ("of",), ours)
    counter = Counter("some", "What it is", ("of",), registry=theirs)
    for label, amount in counted:
        tallies.labels(label).inc(amount)
        counter.labels(label).inc(amount)
    assert lines(ours) == lines(theirs)
