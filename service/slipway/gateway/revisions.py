"""How requests are shared out over the revisions of a service, and what is told of how each serves."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric

from slipway.gateway.catalog import Model, Snapshot
from slipway.gateway.routing import at, share
from slipway.gateway.tallies import Spread, Spreads, Tallies, Tally

_FIRST_BYTE = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_LABELS = ("service", "namespace", "revision")


def chosen(model: Model, session: str | None, draw: Callable[[], float]) -> str:
    """The revision of a divided `model` for a request: always the same one for a session."""
    return at(model.split, share(model.name, session) if session is not None else draw()).revision


def version_of(model: Model, session: str | None, draw: Callable[[], float]) -> str:
    """What engines call the version of an adapter that a request is for: always the same for a session."""
    return at(model.versions, share(model.name, session) if session is not None else draw()).engine_name


def endpoints_of(model: Model, revision: str, tried: Collection[str]) -> tuple[str, ...]:
    """Endpoints for a request of this revision: its own, or any once it has none that was not tried."""
    for each in model.split:
        if each.revision == revision and any(address not in tried for address in each.ready):
            return each.ready
    return model.ready


@dataclass(frozen=True, slots=True)
class _Told:
    """The numbers of one revision, looked up once."""

    labels: tuple[str, str, str]
    sound: Tally
    faulty: Tally
    first_byte: Spread


class RevisionMetrics:
    """Counts how the endpoints of each revision serve; what is told of one ends with it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Tallies(
            "slipway_revision_requests",
            "Requests given to a revision's engines by outcome: ok, or error where the engine is at fault",
            (*_LABELS, "outcome"),
            registry=registry,
        )
        self._first_byte = Spreads(
            "slipway_revision_first_byte_seconds",
            "From a request's sending to an engine to the first byte of the answer's body",
            _LABELS,
            buckets=_FIRST_BYTE,
            registry=registry,
        )
        self._told: dict[tuple[str, str, str], _Told] = {}
        self._at: dict[str, _Told] = {}

    def outcome(self, address: str, sound: bool) -> None:
        """An endpoint has served a request, or failed to."""
        told = self._at.get(address)
        if told is not None:
            (told.sound if sound else told.faulty).inc()

    def first_byte(self, address: str, seconds: float) -> None:
        """An endpoint has begun its answer."""
        told = self._at.get(address)
        if told is not None:
            told.first_byte.observe(seconds)

    def version(self, model: Model, version: str, sound: bool, seconds: float | None) -> None:
        """A version of an adapter has served a request; `seconds` to the first byte, where it came so far."""
        told = self._told.get((model.service, model.namespace, version))
        if told is not None:
            (told.sound if sound else told.faulty).inc()
            if seconds is not None:
                told.first_byte.observe(seconds)

    def changed(self, snapshot: Snapshot) -> None:
        """The catalogue has changed: know its endpoints, forget revisions that are gone."""
        found: dict[str, _Told] = {}
        kept: dict[tuple[str, str, str], _Told] = {}
        for model in snapshot.models.values():
            for revision in model.revisions:
                self._keep(kept, (model.service, model.namespace, revision))
            for version in model.versions:
                self._keep(kept, (model.service, model.namespace, version.engine_name))
            for address in (*model.ready, *model.others):
                revision = snapshot.revisions.get(address, model.revision)
                found[address] = self._keep(kept, (model.service, model.namespace, revision))
        for labels in self._told.keys() - kept.keys():
            self._first_byte.drop(*labels)
            for outcome in ("ok", "error"):
                self._requests.drop(*labels, outcome)
        self._told, self._at = kept, found

    def _keep(self, kept: dict[tuple[str, str, str], _Told], labels: tuple[str, str, str]) -> _Told:
        told = kept.get(labels) or self._told.get(labels)
        if told is None:
            told = _Told(
                labels,
                self._requests.labels(*labels, "ok"),
                self._requests.labels(*labels, "error"),
                self._first_byte.labels(*labels),
            )
        kept[labels] = told
        return told


class ServiceLoads:
    """The requests of each service, in flight and waiting, as of a scrape: what autoscaling goes by."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        outstanding: Callable[[str], int],
        waiting: Callable[[str], int],
    ) -> None:
        self._snapshot = snapshot
        self._outstanding = outstanding
        self._waiting = waiting

    def collect(self) -> Iterable[Metric]:
        """Both families as of now."""
        labels = ("service", "namespace")
        busy = GaugeMetricFamily(
            "slipway_service_requests_in_flight", "Requests at engines of the service", labels=labels
        )
        waiting = GaugeMetricFamily(
            "slipway_service_requests_waiting",
            "Requests that wait for an engine of the service to be free, or to come up",
            labels=labels,
        )
        services = {model.place: model for model in self._snapshot().models.values()}
        for place, model in services.items():
            own = (model.service, model.namespace)
            busy.add_metric(own, sum(map(self._outstanding, (*model.ready, *model.others))))
            waiting.add_metric(own, self._waiting(place))
        return (busy, waiting)

    def describe(self) -> Iterator[Metric]:
        """Nothing: the names are not taken by others."""
        return iter(())
