"""The operator's own metrics, in Prometheus' text format."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

_SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)


class Metrics:
    """Counters and gauges; `registry` is where they lie."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.turns = Counter(
            "slipway_operator_reconciles",
            "Turns of the operator over an object.",
            ("kind", "outcome"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "slipway_operator_reconcile_seconds",
            "Duration of a turn.",
            ("kind",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.leading = Gauge(
            "slipway_operator_leading", "1 while this operator acts, 0 while another one does.",
            registry=self.registry,
        )  # fmt: skip
        self.queued = Gauge(
            "slipway_operator_queue_length", "Objects that wait for their turn.", registry=self.registry
        )
        self.failing = Gauge(
            "slipway_operator_failing_objects", "Objects whose last turn failed.", registry=self.registry
        )
        self.calls = Gauge(
            "slipway_operator_api_calls",
            "Calls to the API server since the start.",
            ("verb", "resource"),
            registry=self.registry,
        )
        self.stale = Gauge(
            "slipway_operator_stale_seconds",
            "Time since the API server was last heard of, of the kind heard of the longest ago.",
            registry=self.registry,
        )
        self.gateways = Gauge(
            "slipway_operator_gateways", "Gateways, and those that answered the last reading.",
            ("state",), registry=self.registry,
        )  # fmt: skip

    def turn(self, kind: str, outcome: str, seconds: float) -> None:
        """An object was looked after: outcome ok, conflict or error."""
        self.turns.labels(kind, outcome).inc()
        self.seconds.labels(kind).observe(seconds)

    def text(self) -> bytes:
        """All of them."""
        return generate_latest(self.registry)
