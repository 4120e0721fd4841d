"""Stores on a test's Redis."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from integration.limits.properties import Clock
from integration.redis_server import Redis
from slipway.gateway.limits import InProcessLimits, Subject, scripts
from slipway.gateway.limits.commands import Commands, Script, command
from slipway.gateway.limits.connection import RedisConnection
from slipway.gateway.limits.contract import Seed, nothing_used
from slipway.gateway.limits.places import place_of
from slipway.gateway.limits.shared import SharedLimits

TEST_CLOCK = "cjson.decode(redis.call('GET', '{' .. string.match(KEYS[1], '{(.-)}') .. '}:clock'))"
"""A clock in Redis that the test sets."""


class TestStore(SharedLimits):
    """Puts the test's clock into Redis before each question."""

    __test__ = False
    test_clock: Clock

    async def _evaluate(self, packed: bytes) -> list[int]:
        micro = self.test_clock.micro
        value = f"[{micro // 1_000_000},{micro % 1_000_000}]"
        key = f"{{{self.commands.prefix}}}:clock"
        self.connection.send(command("SET", key, value), lambda reply: None)
        return await super()._evaluate(packed)


def commands_of(prefix: str | None, lease: float, clock: Clock | None, *, seeded: bool = False) -> Commands:
    """Commands under a prefix of their own; with `clock`, their script reads the test's."""
    made = Commands(os.urandom(6).hex(), prefix or f"t{os.urandom(6).hex()}", lease, seeded)
    if clock is not None:
        made.reserve_script = Script(scripts.RESERVE.replace(scripts.CLOCK, TEST_CLOCK))
    return made


@asynccontextmanager
async def store_on(
    redis: Redis,
    clock: Clock | None = None,
    *,
    url: str | None = None,
    prefix: str | None = None,
    seed: Seed = nothing_used,
    fail_open: bool = True,
    timeout: float = 5.0,
    lease: float = 1e8,
    fell_back: Callable[[str], None] = lambda how: None,
    told: Callable[[bool, str], None] = lambda up, problem: None,
) -> AsyncIterator[SharedLimits]:
    """A store that is connected; with `clock`, Redis has the test's clock."""
    connection = RedisConnection(place_of(url or redis.url), timeout=timeout, on_change=told)
    wall = clock or time.time
    store = (TestStore if clock is not None else SharedLimits)(
        connection,
        commands_of(prefix, lease, clock, seeded=seed is not nothing_used),
        InProcessLimits(wall, wall, seed),
        fail_open,
        wall,
        fell_back,
        seed,
    )
    if isinstance(store, TestStore):
        assert clock is not None
        store.test_clock = clock
    task = asyncio.create_task(store.run())
    async with asyncio.timeout(20):
        await store.known()
    try:
        yield store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def used(store: SharedLimits, subject: Subject, limit: str) -> int:
    return next(each.used for each in await store.levels((subject,)) if each.limit == limit)
