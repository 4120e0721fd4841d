"""The state folder of a local run as a source of snapshots."""

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import yaml
from pydantic import TypeAdapter

from slipway.gateway.auth import Keyring
from slipway.gateway.catalog import Catalog, Endpoint, Snapshot, by_name, by_served_name, models_of
from slipway.gateway.lastgood import STAYS, LastGood
from slipway.gateway.statuses import ServiceStatus, read_report
from slipway.objects import APIKey, LLMService, ModelRoute, Owner
from slipway.objects.loading import KINDS
from slipway.objects.statuses import ServedAdapter

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")


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


def read_adapters(data: bytes) -> dict[str, tuple[ServedAdapter, ...]]:
    """Read `adapters.json`: service -> what is its `status.adapters` on a cluster. Raises ValueError."""
    return _ADAPTERS.validate_json(data)


_ADAPTERS = TypeAdapter(dict[str, tuple[ServedAdapter, ...]])


def _endpoint(service: str, entry: Any) -> Endpoint:
    address = entry.get("address") if isinstance(entry, dict) else None
    match = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
    if match is None or not 0 < int(match[2]) < 65536:
        raise ValueError(f"an endpoint of {service!r} has no usable `address` (HOST:PORT)")
    revision = entry.get("revision")
    return Endpoint(str(address), entry.get("ready") is True, revision if isinstance(revision, str) else None)


Signature = tuple[int, int, int]
_ENGINE_KEY = "engine-key"
_STATUS = "status.json"
_SERVED_ADAPTERS = "adapters.json"
_PREFIXES = tuple(f"{kind.lower()}-" for kind in KINDS)
_AGAIN: Signature = (0, 0, 0)
_WHOLE = 4
"""Every so many looks are at all files: one may have been written in place."""
_TICK = 50_000_000
"""Nanoseconds that the clock of a file system may stand still."""


@dataclass(slots=True)
class StateFolder:
    """A source over the state folder of a local run.

    Looks every `interval` seconds whether a file was renamed into it, and every fourth time at the stat of
    all; reads those that changed. A file that cannot be read keeps its last good content, and says so once
    through `report(file, problem)`.
    """

    folder: Path
    interval: float
    report: Callable[[str, str], None]
    _seen: dict[Path, Signature] = field(default_factory=dict)
    _endpoints: dict[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    _statuses: dict[str, ServiceStatus] = field(default_factory=dict)
    _adapters: dict[str, tuple[ServedAdapter, ...]] = field(default_factory=dict)
    _loaded: bool = False
    _marks: list[int] = field(default_factory=list)
    _known: LastGood[Path] = field(init=False)

    def __post_init__(self) -> None:
        self._known = LastGood(self.report)

    @property
    def stale(self) -> float:
        """A folder is read as often as it is looked at."""
        return 0.0

    async def run(self, catalog: Catalog) -> None:
        """Keep `catalog` up to date until cancelled."""
        looks = 0
        while True:
            if self._touched() or looks % _WHOLE == 0:
                snapshot = await asyncio.to_thread(self.poll)
                if snapshot is not None:
                    catalog.swap(snapshot)
            looks += 1
            await asyncio.sleep(self.interval)

    def _touched(self) -> bool:
        """Whether a file was put into one of the folders since the last time. Costs a tenth of a look."""
        marks: list[int] = []
        for folder in (self.folder, self.folder / "objects", self.folder / "secrets"):
            with suppress(OSError):
                marks.append(folder.stat().st_mtime_ns)
        touched = marks != self._marks
        # Two renames may fall into one tick of the file system's clock.
        just_now = any(time.time_ns() - mark < _TICK for mark in marks)
        self._marks = [] if just_now else marks
        return touched

    def poll(self) -> Snapshot | None:
        """Look once; the new snapshot, or None if nothing has changed."""
        try:
            found = self._look()
        except OSError as error:
            self._known.say(self.folder, self.folder.name, f"cannot be listed: {error.strerror}")
            return None
        if self._loaded and found == self._seen:
            return None
        for path in self._known.objects.keys() - found.keys():
            self._known.drop(path)
        if self.folder / "endpoints.json" not in found:
            self._endpoints = {}
        if self.folder / _SERVED_ADAPTERS not in found:
            self._adapters = {}
        before = self._seen, self._statuses
        if self.folder / _STATUS not in found:
            self._statuses = {}
        for path, signature in found.items():
            if self._seen.get(path) != signature and not self._read(path):
                found[path] = _AGAIN
        self._seen = found
        if (
            self._loaded
            and self._statuses == before[1]
            and _without_status(found) == _without_status(before[0])
        ):
            return None  # Progress of a start: nothing that anybody is shown.
        self._loaded = True
        return self._snapshot()

    def _look(self) -> dict[Path, Signature]:
        files = [path for path in (self.folder / "objects").glob("*.yaml") if path.name.startswith(_PREFIXES)]
        files += [self.folder / "endpoints.json", self.folder / _STATUS, self.folder / _SERVED_ADAPTERS]
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
        if path.name == _ENGINE_KEY:
            return True
        try:
            data = path.read_bytes()
            applied = datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
        except OSError as error:
            self._known.say(path, path.name, f"cannot be read: {error.strerror}; {STAYS}")
            return False
        try:
            if path.name in ("endpoints.json", _STATUS, _SERVED_ADAPTERS):
                if path.name == _STATUS:
                    self._statuses = read_report(data)
                elif path.name == _SERVED_ADAPTERS:
                    self._adapters = read_adapters(data)
                else:
                    self._endpoints = read_endpoints(data)
                self._known.mended(path)
                return True
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            document = yaml.load(data, Loader=loader)  # noqa: S506 - both are safe loaders
        except (ValueError, yaml.YAMLError) as error:
            self._known.say(path, path.name, f"{type(error).__name__}: {error}; {STAYS}")
            return True
        if isinstance(document, dict) and isinstance(document.get("metadata"), dict):
            document["metadata"].setdefault("creationTimestamp", applied)
        kind = next(KINDS[name] for name in KINDS if path.name.startswith(f"{name.lower()}-"))
        self._known.take(path, path.name, kind, document)
        return True

    def _snapshot(self) -> Snapshot:
        good = list(self._known.objects.values())
        services = [item for item in good if isinstance(item, LLMService)]
        return Snapshot(
            models=by_served_name(
                models_of(
                    self._with_adapters(service),
                    self._endpoints.get(service.metadata.name, ()),
                    status=self._statuses.get(service.metadata.name),
                )
                for service in services
            ),
            keyring=Keyring.of(item for item in good if isinstance(item, APIKey)),
            owners=by_name((item.owner_name, item) for item in good if isinstance(item, Owner)),
            routes=by_name((item.served_name, item) for item in good if isinstance(item, ModelRoute)),
            revisions={
                endpoint.address: endpoint.revision
                for endpoints in self._endpoints.values()
                for endpoint in endpoints
                if endpoint.revision is not None
            },
            loaded=True,
        )

    def _with_adapters(self, service: LLMService) -> LLMService:
        """The service with the adapters that its engines have loaded, as the operator would say of it."""
        adapters = self._adapters.get(service.metadata.name)
        if not adapters:
            return service
        return service.model_copy(update={"status": service.status.model_copy(update={"adapters": adapters})})


def _without_status(files: dict[Path, Signature]) -> dict[Path, Signature]:
    return {path: signature for path, signature in files.items() if path.name != _STATUS}
