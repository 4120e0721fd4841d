"""The life of one gateway: what begins with it, goes on as long as it does, and ends with it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway.gateway.catalog import Catalog, Snapshot, Source
from slipway.gateway.frontdoor import ASGIApp
from slipway.gateway.logs import JSONLog
from slipway.gateway.metrics import Metrics
from slipway.gateway.relay.relay import Relay
from slipway.gateway.serving import Serving
from slipway.gateway.settings import GatewaySettings
from slipway.gateway.storage.database import Database
from slipway.gateway.usage.child import RecorderChild

_KNOWN_REST = 3.0
"""Seconds that a gateway which begins waits for what it needs to answer."""
_RECORD_REST = 10.0
"""Seconds that a gateway which ends gives its recorder; what is left then waits on disk for another."""


@dataclass(slots=True)
class EngineKey:
    """The key that engines ask for, from a file; without it they ask for none."""

    file: Path
    value: bytes = b""

    def refresh(self) -> None:
        """Read the file; an unreadable one leaves the last value."""
        try:
            value = self.file.read_bytes().strip()
        except FileNotFoundError:
            value = b""
        except OSError:
            return
        if value.isascii() and b"\n" not in value and b"\r" not in value:
            self.value = value


@dataclass(slots=True)
class Gateway:
    """One gateway: `app` is its ASGI application."""

    settings: GatewaySettings
    catalog: Catalog
    source: Source
    serving: Serving
    relay: Relay
    metrics: Metrics
    log: JSONLog
    engine_key: EngineKey
    database: Database
    name: str
    """Tells this process apart from other gateways, in leases and usage."""
    recorder: RecorderChild | None
    always: list[Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=list)
    """Runs as long as the gateway."""
    known: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """Returns when it is known whether what requests need is there: the first ones wait for that a while."""
    background: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """Runs as long as the gateway, once the database is there."""
    app: ASGIApp | None = None
    draining: bool = False
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    _said: str = ""

    async def start(self) -> None:
        """Begin to watch the source and to gather log lines."""
        loop = asyncio.get_running_loop()
        self.log.gather(loop.call_later)
        self._tasks = [loop.create_task(self._watch()), loop.create_task(self._open_database())]
        self._tasks += [loop.create_task(run()) for run in self.always]
        if self.recorder is not None:
            self._tasks.append(loop.create_task(self.recorder.run()))
        with suppress(TimeoutError):
            async with asyncio.timeout(_KNOWN_REST):
                await asyncio.gather(*(known() for known in self.known))

    async def stop(self) -> None:
        """Stop watching, close the kept connections, write the last log lines."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.recorder is not None:
            await self.recorder.finish(_RECORD_REST)
        self.database.close()
        if self.serving.tracing is not None:
            await asyncio.to_thread(self.serving.tracing.close)
        self.relay.endpoints_changed(set())
        self.log.gather(None)

    async def _watch(self) -> None:
        while True:
            try:
                await self.source.run(self.catalog)
            except Exception as error:
                self.log.write("error", "source_failed", f"{type(error).__name__}: {error}")
                await asyncio.sleep(1)

    async def _open_database(self) -> None:
        """Bring the database up to date, as often as it takes; requests to models do not wait for it."""
        while not self.database.migrated:
            try:
                await self.database.migrate()
            except Exception as error:
                self.log.write("error", "database", f"{type(error).__name__}: {str(error)[:500]}")
                await asyncio.sleep(2)
        await asyncio.gather(*(run() for run in self.background))

    def changed(self, snapshot: Snapshot) -> None:
        """The catalogue has a new snapshot."""
        self.engine_key.refresh()
        self.relay.endpoints_changed(snapshot.addresses)
        ready = sum(bool(model.ready) for model in snapshot.models.values())
        said = f"{len(snapshot.models)} models, {ready} of them ready; {len(snapshot.keyring.keys)} keys"
        if said != self._said:  # During a rollout a status changes every second or so.
            self._said = said
            self.log.write("info", "catalog", said)

    def scraped(self) -> None:
        """Bring the gauges up to date."""
        self.metrics.in_flight.set(self.serving.in_flight)
        self.metrics.queued.set(self.relay.waiting)
        self.metrics.ejected.set(self.relay.balancer.ejected())
        self.metrics.stale.set(self.source.stale)
