"""What can be called: an immutable snapshot of models, endpoints and keys, and the source that renews it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, TypeVar

from slipway.gateway.auth import Keyring
from slipway.gateway.errors import ASK
from slipway.gateway.statuses import ServiceStatus
from slipway.objects import LLMService, ModelRoute, Owner, Resource, Task
from slipway.objects.engines import takes_adapters
from slipway.objects.money import PER_MILLION, nano_dollars

Place = tuple[str, str]
"""(namespace, name) of an object; the namespace of what is on no cluster is ""."""


def place_of(item: Resource) -> Place:
    """Where an object is on a cluster."""
    return item.metadata.namespace or "", item.metadata.name


@dataclass(frozen=True, slots=True)
class Prices:
    """Nano-dollars of a million tokens."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0

    def cost(self, prompt: int, completion: int, cached: int = 0) -> int:
        """Nano-dollars of a request, rounded half up once; `cached` of the prompt's tokens were cached."""
        total = (prompt - cached) * self.prompt + cached * self.cached + completion * self.completion
        return (total + PER_MILLION // 2) // PER_MILLION


FREE = Prices()


@dataclass(frozen=True, slots=True)
class Share:
    """One revision's share of a service's requests."""

    revision: str
    weight: int
    ready: tuple[str, ...]
    """Addresses of its endpoints that can serve now; at least one."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an adapter, loaded by every engine that serves it."""

    engine_name: str
    """What engines know it by."""
    weight: int
    """Its share of the requests for the adapter's name."""


@dataclass(frozen=True, slots=True)
class Model:
    """One name that clients can put into `model`; an adapter's name leads to its service's endpoints."""

    name: str
    service: str
    task: Task
    revision: str
    ready: tuple[str, ...]
    """Addresses (`host:port`) of the endpoints that can serve now."""
    endpoints: int
    """Endpoints there are, ready or not."""
    parent: str | None = None
    """For an adapter: the base model's name."""
    prices: Prices = FREE
    created: int = 0
    """When its LLMService was made, in seconds since 1970; 0 where nobody knows."""
    runtime: str = "vllm"
    """What runs it; fields that only vLLM knows are not sent to another."""
    longest: int | None = None
    """Tokens of prompt and answer together, where the LLMService says."""
    namespace: str = ""
    """Of its service; "" where there are none."""
    others: tuple[str, ...] = ()
    """Addresses that get no new requests: of endpoints that start or end, or of a revision without weight."""
    split: tuple[Share, ...] = ()
    """How requests are shared out, where more than one revision serves; `ready` has the endpoints of all."""
    revisions: tuple[str, ...] = ()
    """Revisions that are to have a share."""
    versions: tuple[Version, ...] = ()
    """Of an adapter that a FineTune brought to running engines: those that share its requests. Engines know
    them by other names than clients."""
    source: str = ""
    """Where the base model's weights come from."""
    takes_adapters: bool = False
    """Whether its engines have room for adapters that come while they run."""
    may_start: bool = False
    """Whether an endpoint may come up if a request waits for one."""
    status: ServiceStatus | None = None
    """How its service is doing; None where nobody says."""

    @property
    def place(self) -> str:
        """Its service, told apart from those of the same name in other namespaces."""
        return f"{self.namespace}/{self.service}" if self.namespace else self.service

    @property
    def why_not_ready(self) -> str | None:
        """A sentence for clients, which names nothing of what runs where; None if somebody can be served."""
        if self.ready:
            return None
        if self.status is not None and self.status.failing:
            return f"its engine has failed. {ASK}"
        if self.endpoints:
            return "its engine is starting. Try again in a few seconds."
        if self.may_start:
            return "it has no engine now; the first request starts one."
        return f"no engine runs for it. {ASK}"

    @property
    def cause(self) -> str | None:
        """The same for admins: what the operator or the supervisor says, and the command that says more."""
        if self.ready:
            return None
        status = self.status
        if status is None or status.state == "Ready":
            said = str(self.why_not_ready).removesuffix(ASK)
        else:
            said = ": ".join(filter(None, (status.reason, " ".join(status.message.split()))))
        where = f" -n {self.namespace}" if self.namespace else ""
        end = "" if said.rstrip().endswith((".", "!", "?")) else "."
        return f"{said.rstrip()}{end} `slipway explain {self.service}{where}` says more."


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of the world; readers take it once and see nothing half new."""

    models: Mapping[str, Model] = field(default_factory=dict)
    keyring: Keyring = field(default_factory=Keyring)
    owners: Mapping[str, Owner] = field(default_factory=dict)
    """By the name that keys put into `owner`."""
    routes: Mapping[str, ModelRoute] = field(default_factory=dict)
    """Virtual models by the name that clients put into `model`."""
    revisions: Mapping[str, str] = field(default_factory=dict)
    """Which revision an address serves, where the source says."""
    loaded: bool = False
    """False until a source has been read for the first time."""

    @property
    def addresses(self) -> set[str]:
        """The addresses of all ready endpoints."""
        return {address for model in self.models.values() for address in model.ready}


@dataclass(slots=True)
class Catalog:
    """Holds the current snapshot; a source swaps it, everybody else reads it."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    on_change: list[Callable[[Snapshot], None]] = field(default_factory=list)
    extend: Callable[[Snapshot], Snapshot] = lambda snapshot: snapshot
    """Adds to what the source knows what is kept elsewhere."""
    _source: Snapshot = field(default_factory=Snapshot)

    def swap(self, snapshot: Snapshot) -> None:
        """The source has a new snapshot: put it in force and tell who wants to know."""
        self._source = snapshot
        self.snapshot = self.extend(snapshot)
        for tell in self.on_change:
            tell(self.snapshot)

    def refresh(self) -> None:
        """What `extend` adds has changed."""
        if self._source.loaded:
            self.swap(self._source)


class Source(Protocol):
    """Where snapshots come from: a state folder here, the Kubernetes API on a cluster."""

    @property
    def stale(self) -> float:
        """Seconds for which the last snapshot may have been out of date; 0.0 where it is not."""
        ...

    async def run(self, catalog: Catalog) -> None:
        """Keep `catalog` up to date until cancelled."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One engine of a service."""

    address: str
    """`host:port`."""
    ready: bool
    revision: str | None = None


def prices_of(service: LLMService) -> Prices:
    """What the service's tokens cost."""
    pricing = service.spec.pricing
    prompt, cached = pricing.input_per_million, pricing.cached_input_per_million
    return Prices(
        nano_dollars(prompt),
        nano_dollars(prompt if cached is None else cached),
        nano_dollars(pricing.output_per_million),
    )


def models_of(
    service: LLMService,
    endpoints: tuple[Endpoint, ...],
    namespace: str = "",
    *,
    may_start: bool = False,
    status: ServiceStatus | None = None,
) -> tuple[Model, ...]:
    """The models of one service under all its served names, with its endpoints."""
    ready, split = _shared_out(service, endpoints)
    made = service.metadata.creation_timestamp
    revision = service.revision
    prices = prices_of(service)
    versions = _versions(service)
    room = takes_adapters(service)
    return tuple(
        Model(
            name=name,
            service=service.metadata.name,
            task=service.spec.model.task,
            revision=revision,
            ready=ready,
            endpoints=len(endpoints),
            parent=service.served_name if name != service.served_name else None,
            prices=prices,
            created=int(made.timestamp()) if made else 0,
            runtime=service.spec.engine.runtime,
            longest=service.spec.engine.max_model_len,
            namespace=namespace,
            others=tuple(each.address for each in endpoints if each.address not in ready),
            split=split,
            revisions=tuple(traffic.revision for traffic in service.status.traffic if traffic.weight),
            may_start=may_start,
            status=status,
            versions=versions.get(name, ()),
            source=service.spec.model.source,
            takes_adapters=room,
        )
        for name in dict.fromkeys((*service.served_names, *versions))
    )


def _versions(service: LLMService) -> dict[str, tuple[Version, ...]]:
    """By served name: the versions of the adapters that FineTunes brought, as far as they take requests."""
    found: dict[str, tuple[Version, ...]] = {}
    for each in service.status.adapters:
        if each.state == "Ready" and each.weight and each.name not in service.served_names:
            found[each.name] = (*found.get(each.name, ()), Version(each.engine_name, each.weight))
    return found


def _shared_out(
    service: LLMService, endpoints: tuple[Endpoint, ...]
) -> tuple[tuple[str, ...], tuple[Share, ...]]:
    """The addresses that take requests, and their shares if several revisions have one.

    A revision with weight but nothing ready leaves its share to the others; those without weight serve only
    while no other can.
    """
    able = [endpoint for endpoint in endpoints if endpoint.ready]
    shares: list[Share] = []
    for traffic in service.status.traffic:
        ready = tuple(each.address for each in able if each.revision == traffic.revision)
        if ready and traffic.weight:
            shares.append(Share(traffic.revision, traffic.weight, ready))
    if not shares:
        return tuple(endpoint.address for endpoint in able), ()
    addresses = tuple(address for share in shares for address in share.ready)
    return addresses, tuple(shares) if len(shares) > 1 else ()


def by_served_name(services: Iterable[tuple[Model, ...]]) -> Mapping[str, Model]:
    """All served names. Where two services claim one, the first by namespace and name has it."""
    models: dict[str, Model] = {}
    for served in sorted(services, key=lambda each: (each[0].namespace, each[0].service)):
        for model in served:
            models.setdefault(model.name, model)
    return MappingProxyType(models)


_Named = TypeVar("_Named", Owner, ModelRoute)


def by_name(items: Iterable[tuple[str, _Named]]) -> Mapping[str, _Named]:
    """Of two objects that claim one name the first by namespace and name counts."""
    named: dict[str, _Named] = {}
    for name, item in sorted(items, key=lambda pair: place_of(pair[1])):
        named.setdefault(name, item)
    return MappingProxyType(named)
