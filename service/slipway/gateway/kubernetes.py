"""The objects of a Kubernetes cluster as a source of snapshots.

Watches LLMServices, APIKeys, Owners, ModelRoutes and the EndpointSlices of engines, and writes nothing.
While the API server is away what was known last stays in force.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from slipway.gateway.auth import Key, Keyring
from slipway.gateway.catalog import (
    Catalog,
    Endpoint,
    Model,
    Place,
    Snapshot,
    by_name,
    by_served_name,
    models_of,
    place_of,
)
from slipway.gateway.lastgood import LastGood
from slipway.gateway.statuses import status_on_cluster
from slipway.kube import Client, Informer, Kind, Obj
from slipway.kube.config import Connection
from slipway.kube.errors import GoneError, KubeError
from slipway.kube.kinds import API_KEY, ENDPOINT_SLICE, LLM_SERVICE, MODEL_ROUTE, OWNER
from slipway.objects import APIKey, LLMService, ModelRoute, Owner
from slipway.objects.states import ServiceState, service_state

SERVICE_LABEL = "slipway.dev/service"
REVISION_LABEL = "slipway.dev/revision"
_GATHER = 0.02
"""Seconds in which changes are gathered for one snapshot: a rollout changes many objects at once."""

_CLASSES: dict[Kind, type[LLMService] | type[APIKey] | type[Owner] | type[ModelRoute]] = {
    LLM_SERVICE: LLMService,
    API_KEY: APIKey,
    OWNER: Owner,
    MODEL_ROUTE: ModelRoute,
}
_ObjectKey = tuple[str, str, str]
"""(kind, namespace, name)."""


@dataclass(slots=True)
class KubernetesSource:
    """Follows the objects of a namespace, or of all (`namespace` ""), through `connection`.

    `report(where, problem)` hears of objects that cannot be used, `tell(level, sentence)` of how it stands
    with the API server.
    """

    connection: Connection
    namespace: str
    report: Callable[[str, str], None]
    tell: Callable[[str, str], None]
    clock: Callable[[], float] = time.monotonic
    _informers: list[Informer] = field(default_factory=list)

    @property
    def stale(self) -> float:
        """Seconds since when not every kind is followed; 0.0 while all are."""
        since = [each.stale_since for each in self._informers if each.stale_since is not None]
        return self.clock() - min(since) if since else 0.0

    async def run(self, catalog: Catalog) -> None:
        """Keep `catalog` up to date until cancelled."""
        changed = asyncio.Event()
        world = _World(self.report)
        async with Client(self.connection, manager="slipway-gateway") as client, asyncio.TaskGroup() as tasks:
            self._informers = [
                self._informer(client, kind, world, changed) for kind in (*_CLASSES, ENDPOINT_SLICE)
            ]
            for informer in self._informers:
                tasks.create_task(informer.run())
            for informer in self._informers:
                await informer.synced()
            while True:
                changed.clear()
                catalog.swap(world.snapshot())
                await changed.wait()
                await asyncio.sleep(_GATHER)

    def _informer(self, client: Client, kind: Kind, world: "_World", changed: asyncio.Event) -> Informer:
        told = ""

        def took(old: Obj | None, new: Obj | None) -> None:
            world.take(kind, old, new)
            changed.set()

        def fault(error: KubeError) -> None:
            nonlocal told
            if isinstance(error, GoneError):
                return  # Everything is listed anew at once; that is no news.
            sentence = f"{kind.plural}: {error}"
            if sentence != told:
                told = sentence
                self.tell("warning", f"{sentence}; what was known last stays in force")

        def fresh() -> None:
            nonlocal told
            if told:
                told = ""
                self.tell("info", f"{kind.plural}: followed again")

        return Informer(
            client,
            kind,
            self.namespace or None,
            selector=SERVICE_LABEL if kind == ENDPOINT_SLICE else None,
            on_change=took,
            on_fault=fault,
            on_fresh=fresh,
            clock=self.clock,
        )


class _World:
    """What the API server has said; parts of a snapshot that did not change are kept."""

    def __init__(self, report: Callable[[str, str], None]) -> None:
        self._known: LastGood[_ObjectKey] = LastGood(report)
        self._slices: dict[Place, dict[str, tuple[Endpoint, ...]]] = {}
        self._models: dict[Place, tuple[Model, ...]] = {}
        self._states: dict[Place, ServiceState] = {}
        self._keys: dict[Place, Key | None] = {}
        self._keyring: Keyring | None = None

    def take(self, kind: Kind, old: Obj | None, new: Obj | None) -> None:
        item = new if new is not None else old
        assert item is not None  # noqa: S101 - for the type checker; one of both is there
        metadata = item["metadata"]
        place = (metadata.get("namespace") or "", metadata["name"])
        if kind == ENDPOINT_SLICE:
            self._take_slice(place, old, new)
            return
        key = (kind.kind, *place)
        if new is None:
            self._known.drop(key)
        else:
            self._known.take(key, f"{kind.kind} {'/'.join(place)}", _CLASSES[kind], new)
        if kind == LLM_SERVICE:
            self._models.pop(place, None)
            # Of the object as it is: the operator's word counts even where the spec cannot be used.
            if new is None:
                self._states.pop(place, None)
            else:
                self._states[place] = service_state(new)
        elif kind == API_KEY:
            self._keyring = None
            self._keys.pop(place, None)

    def _take_slice(self, place: Place, old: Obj | None, new: Obj | None) -> None:
        namespace, name = place
        for item in (old, new):
            if item is not None:
                service = (namespace, item["metadata"]["labels"][SERVICE_LABEL])
                slices = self._slices.setdefault(service, {})
                slices.pop(name, None)
                if item is new:
                    slices[name] = tuple(_endpoints(item))
                if not slices:
                    del self._slices[service]
                self._models.pop(service, None)

    def snapshot(self) -> Snapshot:
        """What can be called now."""
        services = self._each(LLMService)
        for place, service in services.items():
            if place not in self._models:
                self._models[place] = self._made(place, service)
        if self._keyring is None:
            keys = self._each(APIKey)
            for place, item in keys.items():
                if place not in self._keys:
                    self._keys[place] = Key.of(item, place[0])
            made = (self._keys[place] for place in keys)
            self._keyring = Keyring.holding(key for key in made if key is not None)
        owners, routes = self._each(Owner), self._each(ModelRoute)
        self._say_twice(LLM_SERVICE, {place: service.served_names for place, service in services.items()})
        self._say_twice(OWNER, {place: (owner.owner_name,) for place, owner in owners.items()})
        self._say_twice(MODEL_ROUTE, {place: (route.served_name,) for place, route in routes.items()})
        return Snapshot(
            models=by_served_name(self._models[place] for place in services),
            keyring=self._keyring,
            owners=by_name((owner.owner_name, owner) for owner in owners.values()),
            routes=by_name((route.served_name, route) for route in routes.values()),
            revisions={
                endpoint.address: endpoint.revision
                for place in services
                for endpoint in self._endpoints(place)
                if endpoint.revision is not None
            },
            loaded=True,
        )

    def _made(self, place: Place, service: LLMService) -> tuple[Model, ...]:
        endpoints = self._endpoints(place)
        ready = Counter(each.revision for each in endpoints if each.ready and each.revision is not None)
        return models_of(
            service,
            endpoints,
            place[0],
            may_start=_may_start(service, endpoints),
            status=status_on_cluster(service, self._states[place], ready),
        )

    def _each(self, kind: type[Any]) -> dict[Place, Any]:
        found = {place_of(item): item for item in self._known.objects.values() if isinstance(item, kind)}
        return dict(sorted(found.items()))

    def _endpoints(self, service: Place) -> tuple[Endpoint, ...]:
        """Each address once: it may be in slices of several Services, and of those one knows the revision."""
        found: dict[str, Endpoint] = {}
        for endpoints in self._slices.get(service, {}).values():
            for endpoint in endpoints:
                known = found.get(endpoint.address)
                if known is None or known.revision is None or (endpoint.revision and endpoint.ready):
                    found[endpoint.address] = endpoint
        return tuple(found[address] for address in sorted(found))

    def _say_twice(self, kind: Kind, names: dict[Place, tuple[str, ...]]) -> None:
        """Report objects of one kind that claim a name which the first by namespace and name has."""
        first: dict[str, Place] = {}
        for place, claimed in names.items():
            key = (f"{kind.kind} name", *place)
            taken = [name for name in claimed if first.setdefault(name, place) != place]
            if taken:
                has = "/".join(first[taken[0]])
                problem = f"the name {taken[0]!r} is that of {has}, which has it; give it another"
                self._known.say(key, f"{kind.kind} {'/'.join(place)}", problem)
            else:
                self._known.mended(key)


def _endpoints(item: Obj) -> Iterator[Endpoint]:
    """The endpoints in an EndpointSlice."""
    ports = item.get("ports") or []
    port = next((each for each in ports if each.get("name") == "http"), ports[0] if ports else None)
    if port is None or not port.get("port"):
        return
    revision = item["metadata"]["labels"].get(REVISION_LABEL)
    for endpoint in item.get("endpoints") or ():
        conditions = endpoint.get("conditions") or {}
        # Where nothing is said the API means ready. One that terminates refuses new requests.
        ready = conditions.get("ready") is not False and conditions.get("terminating") is not True
        for address in endpoint.get("addresses") or ():
            host = f"[{address}]" if item.get("addressType") == "IPv6" else address
            yield Endpoint(f"{host}:{port['port']}", ready, revision)


_LOST = "ReplicasLost"
"""Why a service is degraded whose pods are coming back."""


def _may_start(service: LLMService, endpoints: tuple[Endpoint, ...]) -> bool:
    """Whether an endpoint may come up while a request waits for it."""
    scaling, status = service.spec.autoscaling, service.status
    if scaling is None and service.spec.replicas == 0:
        return False
    holds = {each.type: each.reason for each in status.conditions if each.status == "True"}
    if scaling is not None and scaling.min_replicas == 0 and not status.desired_replicas:
        return True  # Those who wait are what starts the first.
    if holds.get("Degraded", _LOST) != _LOST:
        return False
    if scaling is not None and scaling.min_replicas == 0:
        return True
    if service.spec.rollout.strategy == "Recreate" or "Progressing" in holds:
        return True
    return any(not each.ready for each in endpoints)
