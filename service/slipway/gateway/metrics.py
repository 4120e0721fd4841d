"""Prometheus metrics.

Names after OpenTelemetry's GenAI conventions (semantic-conventions-genai, not stable, as of 2026) where one
exists, `slipway_*` otherwise. Every label has a bounded set of values: models come from the catalogue only.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from slipway.gateway.catalog import Snapshot
from slipway.gateway.revisions import RevisionMetrics, ServiceLoads
from slipway.gateway.tallies import Spread, Spreads, Tallies, Tally

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PROVIDER = "slipway"
UNKNOWN = "unknown"

# Buckets as the conventions advise.
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_EACH = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304)
_LABELS = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")


@dataclass(frozen=True, slots=True)
class _Children:
    """The metrics of one operation and model, looked up once."""

    first: Spread
    each: Spread
    prompt: Spread
    completion: Spread
    prompt_total: Tally
    completion_total: Tally
    cost_total: Tally


class _Endpoints:
    """Reads the catalogue when scraped, so that it can never be out of date."""

    def __init__(self, snapshot: Callable[[], Snapshot], outstanding: Callable[[str], int]) -> None:
        self._snapshot = snapshot
        self._outstanding = outstanding

    def collect(self) -> Iterable[Metric]:
        ready = GaugeMetricFamily(
            "slipway_model_ready_endpoints", "Endpoints that can serve the model", labels=["model"]
        )
        known = GaugeMetricFamily(
            "slipway_model_endpoints", "Endpoints of the model, ready or not", labels=["model"]
        )
        busy = GaugeMetricFamily(
            "slipway_endpoint_outstanding_requests", "Requests under way at an endpoint", labels=["endpoint"]
        )
        snapshot = self._snapshot()
        for model in snapshot.models.values():
            ready.add_metric([model.name], len(model.ready))
            known.add_metric([model.name], model.endpoints)
        for address in sorted(snapshot.addresses):
            busy.add_metric([address], self._outstanding(address))
        return (ready, known, busy)

    def describe(self) -> Iterator[Metric]:
        return iter(())


class Metrics:
    """All metrics of one gateway, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.duration = Spreads(
            "gen_ai_server_request_duration_seconds",
            "From the request's head to the last byte of the answer",
            (*_LABELS, "error_type"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._first = Spreads(
            "gen_ai_server_time_to_first_token_seconds",
            "From the request's head to the first byte of the answer's body",
            _LABELS,
            buckets=_FIRST,
            registry=registry,
        )
        self._each = Spreads(
            "gen_ai_server_time_per_output_token_seconds",
            "Between two tokens of a stream after the first, averaged over the answer",
            _LABELS,
            buckets=_EACH,
            registry=registry,
        )
        self._usage = Spreads(
            "gen_ai_client_token_usage",
            "Tokens of a request, as the engine counted them",
            (*_LABELS, "gen_ai_token_type"),
            buckets=_TOKENS,
            registry=registry,
        )
        self.requests = Tallies(
            "slipway_requests", "Requests by answer", ("route", "model", "status"), registry=registry
        )
        self.tokens = Tallies("slipway_tokens", "Tokens used", ("model", "type"), registry=registry)
        self.cost = Tallies(
            "slipway_cost_nano_dollars",
            "What tokens cost by the models' prices, in billionths of a US dollar so that sums are exact",
            ("model",),
            registry=registry,
        )
        self.strangers = Counter(
            "slipway_unauthenticated_requests",
            "Requests refused for want of a good key, which leave no usage record",
            registry=registry,
        )
        self.limited = Counter(
            "slipway_limited",
            "Requests refused by a limit of a key, a key on a model, or an owner",
            ("subject", "limit"),
            registry=registry,
        )
        self.limits_up = Gauge(
            "slipway_limits_store_up",
            "Whether limits are counted where they should be: 0 while Redis is away",
            registry=registry,
        )
        self.limits_up.set(1)
        self.limits_fallback = Counter(
            "slipway_limits_fallback",
            "Requests decided without Redis while it was away: let, refused",
            ("decision",),
            registry=registry,
        )
        self.identities_up = Gauge(
            "slipway_identities_up",
            "Whether keys and owners of the database could be looked at; those known stay in force",
            registry=registry,
        )
        self.identities_up.set(1)
        self.stale = Gauge(
            "slipway_catalog_stale_seconds",
            "How long the source of models and keys has been away; what was known last stays in force",
            registry=registry,
        )
        self.retries = Counter(
            "slipway_upstream_retries",
            "Attempts that failed before the answer's first byte",
            ("service", "reason"),
            registry=registry,
        )
        self.shed = Counter(
            "slipway_shed",
            "Requests refused as all endpoints were busy: full, key, evicted, late",
            ("reason",),
            registry=registry,
        )
        self.queue_wait = Histogram(
            "slipway_queue_wait_seconds",
            "How long a request that found all endpoints full waited, whatever came of it",
            ("priority",),
            buckets=_FIRST,
            registry=registry,
        )
        self.ejections = Counter(
            "slipway_endpoint_ejections",
            "Times that an endpoint failed so often that it gets nothing",
            registry=registry,
        )
        self.ejected = Gauge("slipway_endpoints_ejected", "Endpoints that get nothing now", registry=registry)
        self.stalls = Counter(
            "slipway_endpoint_stalls",
            "Times that an endpoint with work was silent and found to hang",
            registry=registry,
        )
        self.probes = Counter(
            "slipway_endpoint_probes",
            "Silent endpoints with work that were asked whether they live: alive, silent, stuck",
            ("outcome",),
            registry=registry,
        )
        self.disconnects = Counter(
            "slipway_client_disconnects",
            "Clients that left before their answer was complete",
            registry=registry,
        )
        self.feedback = Counter(
            "slipway_feedback", "Ratings of answers: up, down", ("model", "rating"), registry=registry
        )
        self.in_flight = Gauge("slipway_requests_in_flight", "Relayed requests under way", registry=registry)
        self.queued = Gauge(
            "slipway_requests_queued", "Requests that wait for a free endpoint", registry=registry
        )
        self.connections = Gauge(
            "slipway_client_connections", "Open connections of clients", registry=registry
        )
        self.revisions = RevisionMetrics(registry)
        self._children: dict[tuple[str, str], _Children] = {}
        self._counted: dict[tuple[str, str, int], Tally] = {}
        self._timed: dict[tuple[str, str, str], Spread] = {}

    def watch(
        self,
        snapshot: Callable[[], Snapshot],
        outstanding: Callable[[str], int],
        waiting: Callable[[str], int],
    ) -> None:
        """Report endpoints and services from the catalogue at each scrape."""
        self.registry.register(_Endpoints(snapshot, outstanding))
        self.registry.register(ServiceLoads(snapshot, outstanding, waiting))

    def answered(
        self, route: str, operation: str, model: str, status: int, seconds: float, error: str
    ) -> None:
        """A request has ended; `error` is "" for a success, else a code of a fixed list."""
        counter = self._counted.get((route, model, status))
        if counter is None:
            counter = self._counted[route, model, status] = self.requests.labels(route, model, str(status))
        counter.inc()
        timed = self._timed.get((operation, model, error))
        if timed is None:
            timed = self.duration.labels(operation, PROVIDER, model, error)
            self._timed[operation, model, error] = timed
        timed.observe(seconds)

    def first_token(self, operation: str, model: str, seconds: float) -> None:
        """The first byte of a stream's body went to the client."""
        self._for(operation, model).first.observe(seconds)

    def used(self, operation: str, model: str, prompt: int, completion: int, cost: int) -> None:
        """The engine has counted the tokens; `cost` is in nano-dollars."""
        children = self._for(operation, model)
        children.prompt.observe(prompt)
        children.prompt_total.inc(prompt)
        if completion:
            children.completion.observe(completion)
            children.completion_total.inc(completion)
        if cost:
            children.cost_total.inc(cost)

    def per_token(self, operation: str, model: str, seconds: float) -> None:
        """Mean time between two tokens of a stream."""
        self._for(operation, model).each.observe(seconds)

    def scrape(self) -> bytes:
        """Prometheus' text."""
        return generate_latest(self.registry)

    def _for(self, operation: str, model: str) -> _Children:
        children = self._children.get((operation, model))
        if children is None:
            labels = (operation, PROVIDER, model)
            children = self._children[operation, model] = _Children(
                self._first.labels(*labels),
                self._each.labels(*labels),
                self._usage.labels(*labels, "input"),
                self._usage.labels(*labels, "output"),
                self.tokens.labels(model, "input"),
                self.tokens.labels(model, "output"),
                self.cost.labels(model),
            )
        return children
