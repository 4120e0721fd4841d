"""A real gateway in a process of its own, over a scripted engine in a thread."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integration.gateway.processes import Process
from integration.gateway.states import State
from integration.gateway.upstreams import Exchange, Upstream, chunk, usage_chunk
from slipway.gateway.storage.database import migrate, open_engine

ADMIN_KEY, MEMBER_KEY = "sk-boss", "sk-test"
PRICING = {"inputPerMillion": "100", "outputPerMillion": "300"}


@dataclass
class RealGateway:
    """What runs, and where."""

    url: str
    state: State
    upstream: Upstream


@contextmanager
def _engine() -> Iterator[Upstream]:
    """A scripted engine that serves from another thread: the browser's tests are not asynchronous."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> Upstream:
        return await Upstream(_answer).start()

    upstream = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield upstream
    finally:
        asyncio.run_coroutine_threadsafe(upstream.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        assert not upstream.errors, upstream.errors


async def _answer(exchange: Exchange) -> None:
    """A streamed chat, slow enough for its parts to be measured."""
    await asyncio.sleep(0.02)
    await exchange.begin_stream()
    for word in ("Hel", "lo"):
        await exchange.event(chunk(word))
        await asyncio.sleep(0.01)
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    await exchange.event({**chunk(""), "choices": [end]})
    await exchange.event(usage_chunk())
    await exchange.end_stream()


@contextmanager
def real_gateway(folder: Path, **settings: Any) -> Iterator[RealGateway]:
    """Runs a gateway with two models, an admin's key and a member's."""
    state = State(folder / "state")
    state.service("small", pricing=PRICING)
    state.service("large", pricing=PRICING)
    state.key("boss", ADMIN_KEY, role="admin", owner="platform")
    limits = {"requestsPerMinute": 50, "budgetUSD": {"month": "5"}}
    state.key("local", MEMBER_KEY, owner="search", limits=limits)
    database = f"sqlite:///{state.folder / 'gateway.db'}"
    engine = open_engine(database, 5.0)
    migrate(engine)
    engine.dispose()
    with _engine() as upstream:
        state.endpoints(small=[upstream.address], large=[upstream.address])
        process = Process(state.folder, database_url=database, poll_interval=0.05, **settings)
        try:
            yield RealGateway(f"http://127.0.0.1:{process.port()}/", state, upstream)
        finally:
            process.kill()
