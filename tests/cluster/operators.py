"""Operators of a test's own, in its process: to be killed, doubled and lied to."""

import asyncio
import io
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from slipway.kube.client import Client
from slipway.kube.config import Connection
from slipway_operator.logs import Log
from slipway_operator.metrics import Metrics
from slipway_operator.names import MANAGER
from slipway_operator.operators import Operator
from slipway_operator.settings import OperatorSettings


class Killed(BaseException):
    """The operator's process would have been killed here."""


class MortalClient(Client):
    """A client whose process is killed before its `lives`-th write (counted from 1); 0: never."""

    lives = 0
    writes = 0
    killed: asyncio.Event | None = None

    async def _call(self, verb: str, *rest: Any, **named: Any) -> Any:
        if verb in ("apply", "create", "update", "patch", "delete"):
            self.writes += 1
            if self.lives and self.writes >= self.lives:
                if self.killed is not None:
                    self.killed.set()
                await asyncio.Event().wait()  # Nothing of this process happens any more.
        return await super()._call(verb, *rest, **named)


@dataclass
class Running:
    """An operator that acts."""

    operator: Operator
    client: MortalClient
    log: io.StringIO


@asynccontextmanager
async def acting(
    connection: Connection, namespace: str, *, lives: int = 0, **settings: Any
) -> AsyncIterator[Running]:
    """An operator that acts in one namespace without asking for a lease, killed at the end of the block."""
    client = MortalClient(connection, manager=MANAGER)
    client.lives, client.killed = lives, asyncio.Event()
    log = io.StringIO()
    chosen = OperatorSettings(
        namespace=namespace, watch_namespace=namespace, device="cpu", identity="test",
        backoff_first=0.1, backoff_most=1.0, **settings,
    )  # fmt: skip
    operator = Operator(client, chosen, Log(log), Metrics(), time.time)
    watching = asyncio.create_task(operator.watch())
    tasks = [watching]
    try:
        await asyncio.wait_for(operator.synced(), 30)
        tasks.append(asyncio.create_task(operator.act()))
        yield Running(operator, client, log)
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        operator.queue.close()
        await client.close()
