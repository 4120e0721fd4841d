"""Puts one gateway together from its settings; the parts can be exchanged for tests."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry
from starlette.middleware.cors import CORSMiddleware

from slipway.gateway.api import make_api
from slipway.gateway.catalog import Catalog, Snapshot, Source, StateFolder
from slipway.gateway.frontdoor import ASGIApp, FrontDoor
from slipway.gateway.limits import LIMIT_HEADERS, InProcessLimits, LimitStore
from slipway.gateway.logs import JSONLog
from slipway.gateway.metrics import Metrics
from slipway.gateway.relay.balancer import Balancer
from slipway.gateway.relay.relay import Relay, RelayLimits
from slipway.gateway.relay.transport import TCPTransport, Transport, TransportLimits
from slipway.gateway.routes import relayed_routes
from slipway.gateway.serving import Serving
from slipway.gateway.settings import GatewaySettings

CONSOLE = Path(__file__).parent / "console"


@dataclass(slots=True)
class EngineKey:
    """The key that engines ask for, from the state folder; without the file they ask for none."""

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
    app: ASGIApp | None = None
    draining: bool = False
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    async def start(self) -> None:
        """Begin to watch the source and to gather log lines."""
        loop = asyncio.get_running_loop()
        self.log.gather(loop.call_later)
        self._tasks = [loop.create_task(self._watch())]

    async def stop(self) -> None:
        """Stop watching, close the kept connections, write the last log lines."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.relay.endpoints_changed(set())
        self.log.gather(None)

    async def _watch(self) -> None:
        while True:
            try:
                await self.source.run(self.catalog)
            except Exception as error:
                self.log.write("error", "source_failed", f"{type(error).__name__}: {error}")
                await asyncio.sleep(1)

    def changed(self, snapshot: Snapshot) -> None:
        """The catalogue has a new snapshot."""
        self.engine_key.refresh()
        self.relay.endpoints_changed(snapshot.addresses)
        ready = sum(bool(model.ready) for model in snapshot.models.values())
        self.log.write(
            "info",
            "catalog",
            f"{len(snapshot.models)} models, {ready} of them ready; {len(snapshot.keyring.keys)} keys",
        )

    def scraped(self) -> None:
        """Bring the gauges up to date."""
        self.metrics.in_flight.set(self.serving.in_flight)
        self.metrics.queued.set(self.relay.waiting)


def make_gateway(
    settings: GatewaySettings,
    *,
    log: JSONLog | None = None,
    source: Source | None = None,
    transport: Transport | None = None,
    limits: LimitStore | None = None,
) -> Gateway:
    """Put a gateway together; parts that are left out are the real ones."""
    log = log if log is not None else JSONLog()
    catalog = Catalog()
    metrics = Metrics(CollectorRegistry())
    engine_key = EngineKey(settings.state / "secrets" / "engine-key")
    relay = Relay(
        transport if transport is not None else TCPTransport(_transport_limits(settings)),
        Balancer(time.monotonic, settings.max_per_endpoint),
        RelayLimits(settings.attempts, settings.max_queue, settings.queue_timeout),
        on_retry=lambda service, reason: metrics.retries.labels(service, reason).inc(),
    )
    serving = Serving(
        settings=settings,
        catalog=catalog,
        limits=limits if limits is not None else InProcessLimits(time.monotonic),
        relay=relay,
        metrics=metrics,
        log=log,
        engine_key=lambda: engine_key.value,
        clock=time.perf_counter,
        wall=time.time,
    )
    if source is None:
        source = StateFolder(
            settings.state,
            settings.poll_interval,
            lambda file, problem: log.write("warning", "state", f"{file}: {problem}", file=file),
        )
    gateway = Gateway(settings, catalog, source, serving, relay, metrics, log, engine_key)
    catalog.on_change.append(gateway.changed)
    metrics.watch(lambda: catalog.snapshot, relay.balancer.outstanding)
    routes = relayed_routes(settings)
    api = make_api(
        catalog,
        metrics,
        routes,
        console=CONSOLE,
        draining=lambda: gateway.draining,
        wall=time.time,
        on_scrape=gateway.scraped,
    )
    app: ASGIApp = FrontDoor(routes, serving, api, gateway)
    if settings.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id", "x-api-key"],
            expose_headers=["x-request-id", "retry-after", "retry-after-ms", *LIMIT_HEADERS],
        )
    gateway.app = app
    return gateway


def _transport_limits(settings: GatewaySettings) -> TransportLimits:
    return TransportLimits(
        connect=settings.engine_connect_timeout,
        first_byte=settings.engine_first_byte_timeout,
        idle=settings.engine_idle_timeout,
        keep=settings.engine_keep_alive,
        idle_connections=settings.engine_connections,
    )
