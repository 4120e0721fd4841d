"""What can be called: an immutable snapshot of models, endpoints and keys, and the source that renews it."""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import orjson
import yaml
from pydantic import ValidationError

from slipway.gateway.auth import Keyring
from slipway.objects import APIKey, LLMService, ModelRoute, Owner, Task
from slipway.objects.loading import KINDS, Object
from slipway.objects.money import PER_MILLION, nano_dollars

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")


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

    @property
    def why_not_ready(self) -> str | None:
        """A sentence on why nobody can be served, None if somebody can."""
        if self.ready:
            return None
        if self.endpoints:
            return "its engine is starting. Try again in a few seconds."
        return "no engine runs for it. `slipway status` says why."


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
    services: Iterable[LLMService], endpoints: Mapping[str, tuple[Endpoint, ...]]
) -> Mapping[str, Model]:
    """All served names. Where two services claim one name, the first service by name has it."""
    models: dict[str, Model] = {}
    for service in sorted(services, key=lambda each: each.metadata.name):
        own = endpoints.get(service.metadata.name, ())
        ready = tuple(endpoint.address for endpoint in own if endpoint.ready)
        made = service.metadata.creation_timestamp
        for name in service.served_names:
            parent = service.served_name if name != service.served_name else None
            models.setdefault(
                name,
                Model(
                    name=name,
                    service=service.metadata.name,
                    task=service.spec.model.task,
                    revision=service.revision,
                    ready=ready,
                    endpoints=len(own),
                    parent=parent,
                    prices=prices_of(service),
                    created=int(made.timestamp()) if made else 0,
                    runtime=service.spec.engine.runtime,
                    longest=service.spec.engine.max_model_len,
                ),
            )
    return MappingProxyType(models)


def read_endpoints(data: bytes) -> dict[str, tuple[Endpoint, ...]]:
    """Read `endpoints.json`: service -> its endpoints. Raises ValueError."""
    document = orjson.loads(data)
    if not isinstance(document, dict):
        raise ValueError("endpoints.json must hold an object: service -> list of endpoints")
    result: dict[str, tuple[Endpoint, ...]] = {}
    for service, entries in document.items():
        if not isinstance(entries, list):
            raise ValueError(f"the endpoints of {service!r} must be a list")
        result[service] = tuple(_endpoint(service, entry) for entry in entries)
    return result


def _endpoint(service: str, entry: Any) -> Endpoint:
    address = entry.get("address") if isinstance(entry, dict) else None
    match = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
    if match is None or not 0 < int(match[2]) < 65536:
        raise ValueError(f"an endpoint of {service!r} has no usable `address` (HOST:PORT)")
    revision = entry.get("revision")
    return Endpoint(str(address), entry.get("ready") is True, revision if isinstance(revision, str) else None)


_Named = TypeVar("_Named", Owner, ModelRoute)


def _by_name(items: Iterable[tuple[str, _Named]]) -> Mapping[str, _Named]:
    """Of two objects that claim one name the first by their own name counts."""
    named: dict[str, _Named] = {}
    for name, item in sorted(items, key=lambda pair: pair[1].metadata.name):
        named.setdefault(name, item)
    return MappingProxyType(named)


Signature = tuple[int, int, int]
_ENGINE_KEY = "engine-key"
_PREFIXES = tuple(f"{kind.lower()}-" for kind in KINDS)
_AGAIN: Signature = (0, 0, 0)


@dataclass(slots=True)
class StateFolder:
    """A source over the state folder of a local run.

    Looks at the files' stat every `interval` seconds and reads those that changed. A file that cannot be
    read keeps its last good content, and says so once through `report(file, problem)`.
    """

    folder: Path
    interval: float
    report: Callable[[str, str], None]
    _seen: dict[Path, Signature] = field(default_factory=dict)
    _good: dict[Path, Object] = field(default_factory=dict)
    _endpoints: dict[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    _loaded: bool = False
    _said: dict[Path, str] = field(default_factory=dict)

    async def run(self, catalog: Catalog) -> None:
        """Keep `catalog` up to date until cancelled."""
        while True:
            snapshot = await asyncio.to_thread(self.poll)
            if snapshot is not None:
                catalog.swap(snapshot)
            await asyncio.sleep(self.interval)

    def poll(self) -> Snapshot | None:
        """Look once; the new snapshot, or None if nothing has changed."""
        try:
            found = self._look()
        except OSError as error:
            self._say(self.folder, f"cannot be listed: {error.strerror}")
            return None
        if self._loaded and found == self._seen:
            return None
        for path in self._good.keys() - found.keys():
            del self._good[path]
        if self.folder / "endpoints.json" not in found:
            self._endpoints = {}
        for path, signature in found.items():
            if self._seen.get(path) != signature and not self._read(path):
                found[path] = _AGAIN
        self._seen = found
        self._loaded = True
        return self._snapshot()

    def _look(self) -> dict[Path, Signature]:
        files = [path for path in (self.folder / "objects").glob("*.yaml") if path.name.startswith(_PREFIXES)]
        files.append(self.folder / "endpoints.json")
        files.append(self.folder / "secrets" / _ENGINE_KEY)  # Read by who listens for snapshots.
        found: dict[Path, Signature] = {}
        for path in files:
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            found[path] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if not self.folder.is_dir():
            raise FileNotFoundError(2, "no such folder", str(self.folder))
        return found

    def _read(self, path: Path) -> bool:
        """Take a file's content; False if another look may find what this one did not."""
        try:
            if path.name == _ENGINE_KEY:
                return True
            if path.name == "endpoints.json":
                self._endpoints = read_endpoints(path.read_bytes())
            else:
                kind = next(KINDS[name] for name in KINDS if path.name.startswith(f"{name.lower()}-"))
                loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
                document = yaml.load(path.read_bytes(), Loader=loader)  # noqa: S506 - both are safe loaders
                if isinstance(document, dict) and isinstance(document.get("metadata"), dict):
                    applied = datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
                    document["metadata"].setdefault("creationTimestamp", applied)
                self._good[path] = kind.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            self._say(path, f"{where}: {first['msg']}; its last good content stays in force")
        except (ValueError, yaml.YAMLError) as error:
            self._say(path, f"{type(error).__name__}: {error}; its last good content stays in force")
        except OSError as error:
            self._say(path, f"cannot be read: {error.strerror}; its last good content stays in force")
            return False
        else:
            self._said.pop(path, None)
        return True

    def _say(self, path: Path, problem: str) -> None:
        if self._said.get(path) != problem:
            self._said[path] = problem
            self.report(path.name, problem)

    def _snapshot(self) -> Snapshot:
        good = list(self._good.values())
        return Snapshot(
            models=models_of([item for item in good if isinstance(item, LLMService)], self._endpoints),
            keyring=Keyring.of(item for item in good if isinstance(item, APIKey)),
            owners=_by_name((item.owner_name, item) for item in good if isinstance(item, Owner)),
            routes=_by_name((item.served_name, item) for item in good if isinstance(item, ModelRoute)),
            revisions={
                endpoint.address: endpoint.revision
                for endpoints in self._endpoints.values()
                for endpoint in endpoints
                if endpoint.revision is not None
            },
            loaded=True,
        )
