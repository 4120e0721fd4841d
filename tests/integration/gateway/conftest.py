"""A real gateway under real uvicorn on a free port, in the test's own event loop."""

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from integration.gateway.clients import Reply, call
from integration.gateway.states import State
from integration.gateway.upstreams import Script, Upstream, behave
from slipway.gateway.app import make_gateway
from slipway.gateway.connections import protocol_class
from slipway.gateway.lifespan import Gateway
from slipway.gateway.logs import JSONLog
from slipway.gateway.settings import GatewaySettings


@dataclass
class Running:
    """A gateway that serves."""

    gateway: Gateway
    state: State
    port: int
    output: io.StringIO
    server: uvicorn.Server

    async def call(self, path: str, body: object = None, **options: Any) -> Reply:
        return await call(self.port, path, body, **options)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something becomes true; the test's own time limit ends it if it never does."""
        while not condition():  # noqa: ASYNC110 - any state of the gateway can be awaited so
            await asyncio.sleep(0.005)

    @property
    def log(self) -> list[dict[str, Any]]:
        self.gateway.log.flush()
        return [json.loads(line) for line in self.output.getvalue().splitlines()]

    def outstanding(self, upstream: Upstream) -> int:
        return self.gateway.relay.balancer.outstanding(upstream.address)


Start = Callable[..., Awaitable[Running]]
StartUpstream = Callable[..., Awaitable[Upstream]]


@pytest.fixture
async def start_upstream() -> AsyncIterator[StartUpstream]:
    """Starts scripted engines."""
    started: list[Upstream] = []

    async def start(script: Script = behave, port: int = 0) -> Upstream:
        upstream = await Upstream(script).start(port)
        started.append(upstream)
        return upstream

    yield start
    for upstream in started:
        await upstream.stop()
        assert not upstream.errors, upstream.errors


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a gateway over the upstreams given, with settings as keywords."""
    running: list[tuple[Running, asyncio.Task[None]]] = []

    async def start(
        *upstreams: Upstream | str, key: dict[str, Any] | None = None, **settings: Any
    ) -> Running:
        state = State(tmp_path / f"state{len(running)}")
        state.service("m", adapters=["m-sql"])
        state.service("e", task="embed")
        state.key(**(key or {}))
        addresses = [each if isinstance(each, str) else each.address for each in upstreams]
        state.endpoints(m=addresses, e=addresses)
        state.write("secrets/engine-key", "engine-secret")
        output = io.StringIO()
        # Records are written by a second process; tests of them ask for it.
        chosen = {"usage": False, **settings}
        gateway = make_gateway(
            GatewaySettings(state=state.folder, poll_interval=0.01, **chosen), log=JSONLog(output)
        )
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        config = uvicorn.Config(
            gateway.app,  # type: ignore[arg-type]
            http=protocol_class(gateway.settings),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=gateway.settings.keep_alive,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server._serve([listener]))
        one = Running(gateway, state, listener.getsockname()[1], output, server)
        running.append((one, task))
        await one.until(lambda: server.started and gateway.catalog.snapshot.loaded)
        return one

    yield start
    for one, task in running:
        one.server.should_exit = True
        one.server.force_exit = True  # It waits for no answer, and leaves out the end of the lifespan.
        await task
        await one.server.lifespan.shutdown()
        failures = [line for line in one.log if line["event"] in ("failed", "source_failed")]
        assert not failures, failures
