"""What an engine of this runtime counts, as Prometheus text. Names after vLLM's where they mean the same."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The engine's metrics, all with the label `model_name`."""

    def __init__(self, model: str) -> None:
        """Count for the served name `model`."""
        self.registry = CollectorRegistry()
        self._model = model
        self.prompt_tokens = self._counter("prompt_tokens", "Tokens of inputs")
        self.generation_tokens = self._counter("generation_tokens", "Tokens generated")
        passes = Counter(
            "slipway_engine_forward_passes",
            "Forward passes of the model, one a batch: encode, decode (one a token), or whole",
            ("model_name", "kind"),
            registry=self.registry,
        )
        self.passes = {kind: passes.labels(model, kind) for kind in ("encode", "decode", "whole")}
        finished = Counter(
            "slipway_engine_request_success",
            "Answers finished, by reason (abort: the client left)",
            ("model_name", "finished_reason"),
            registry=self.registry,
        )
        self.finished = {
            reason: finished.labels(model, reason) for reason in ("stop", "length", "abort", "error")
        }
        self.batch_rows = self._histogram("batch_rows", "Rows of a forward pass", _ROWS)
        self.queue_time = self._histogram(
            "request_queue_time_seconds", "Wait of a text for its first pass", _SECONDS
        )
        self.first_token = self._histogram(
            "time_to_first_token_seconds", "From the arrival of a request to its first token", _SECONDS
        )
        self.latency = self._histogram(
            "e2e_request_latency_seconds", "From the arrival of a request to its last token", _SECONDS
        )

    def watch(self, running: Callable[[], int], waiting: Callable[[], int]) -> None:
        """Read the two gauges from where they are known."""
        for name, value, help_text in (
            ("num_requests_running", running, "Texts or answers in the batch under way"),
            ("num_requests_waiting", waiting, "Texts or answers that wait for a batch"),
        ):
            gauge = Gauge(f"slipway_engine_{name}", help_text, ("model_name",), registry=self.registry)
            gauge.labels(self._model).set_function(value)

    def text(self) -> bytes:
        """All of them, for a scrape."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str) -> Counter:
        counter = Counter(f"slipway_engine_{name}", help_text, ("model_name",), registry=self.registry)
        return counter.labels(self._model)

    def _histogram(self, name: str, help_text: str, buckets: tuple[float, ...]) -> Histogram:
        histogram = Histogram(
            f"slipway_engine_{name}", help_text, ("model_name",), registry=self.registry, buckets=buckets
        )
        return histogram.labels(self._model)
