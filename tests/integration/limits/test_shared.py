"""The store in Redis keeps what every store must, and what only a shared one can."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings

from integration.limits import properties
from integration.limits.properties import KEY, Clock, Step
from integration.redis_server import Redis
from slipway.gateway.errors import APIError
from slipway.gateway.limits import InProcessLimits, LimitStore, Rates, Subject, scripts
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
    prefix: str | None = None,
    seed: Seed = nothing_used,
    fail_open: bool = True,
    timeout: float = 5.0,
    lease: float = 1e8,
    fell_back: Callable[[str], None] = lambda how: None,
    told: Callable[[bool, str], None] = lambda up, problem: None,
) -> AsyncIterator[SharedLimits]:
    """A store that is connected; with `clock`, Redis has the test's clock."""
    connection = RedisConnection(place_of(redis.url), timeout=timeout, on_change=told)
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


async def on_one_connection(
    redis: Redis, work: Callable[[properties.Make], Coroutine[Any, Any, None]]
) -> None:
    async with store_on(redis, Clock()) as store:
        assert isinstance(store, TestStore)

        async def make(clock: Clock) -> LimitStore:
            store.test_clock = store.wall = clock
            store.commands = commands_of(None, 1e8, clock)
            return store

        await work(make)


@given(asked=properties.subjects, script=properties.steps)
@settings(max_examples=150, deadline=None)
def test_it_behaves_as_the_model(shared_redis: Redis, asked: tuple[Subject, ...], script: list[Step]) -> None:
    asyncio.run(
        on_one_connection(shared_redis, lambda make: properties.behaves_as_the_model(make, asked, script))
    )


@given(asked=properties.subjects, script=properties.steps)
@settings(max_examples=150, deadline=None)
def test_a_refused_call_fits_exactly_when_it_was_told(
    shared_redis: Redis, asked: tuple[Subject, ...], script: list[Step]
) -> None:
    asyncio.run(
        on_one_connection(shared_redis, lambda make: properties.tells_when_it_fits(make, asked, script))
    )


async def test_calendar_counters_begin_with_what_is_recorded(shared_redis: Redis) -> None:
    asked = {"seeds": 0}

    async def seed(subject: Subject, period: str, now: float) -> tuple[int, int]:
        asked["seeds"] += 1
        return 50, 500

    clock = Clock()
    async with store_on(shared_redis, clock, seed=seed) as store:

        async def make_seeded(made: Clock, counts: dict[str, int]) -> LimitStore:
            assert isinstance(store, TestStore)
            store.test_clock = store.wall = made
            asked.clear()
            counts.setdefault("seeds", 0)
            nonlocal_counts = counts

            async def counting(subject: Subject, period: str, now: float) -> tuple[int, int]:
                nonlocal_counts["seeds"] += 1
                return 50, 500

            store.seed = counting
            return store

        await properties.seeds_once(make_seeded)


async def until(condition: Callable[[], Any]) -> Any:
    """Await a condition, plain or asynchronous; its first true value."""
    async with asyncio.timeout(20):
        while True:
            value = condition()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return value
            await asyncio.sleep(0.01)


async def used(store: SharedLimits, subject: Subject, limit: str) -> int:
    return next(each.used for each in await store.levels((subject,)) if each.limit == limit)


N = 40


async def test_gateways_share_a_limit_exactly(shared_redis: Redis) -> None:
    subject = Subject(KEY, "key", "k", Rates(requests=N, parallel=N, day=N))
    prefix = f"t{os.urandom(6).hex()}"
    async with (
        store_on(shared_redis, prefix=prefix) as a,
        store_on(shared_redis, prefix=prefix) as b,
        store_on(shared_redis, prefix=prefix) as c,
    ):
        asked = [store.reserve((subject,), 1, 1) for _ in range(N) for store in (a, b, c)]
        decisions = await asyncio.gather(*asked)
        assert sum(each.reservation is not None for each in decisions) == N


async def test_a_lost_script_is_loaded_again(redis: Redis) -> None:
    subject = Subject(KEY, "key", "k", Rates(requests=2, tokens=100))
    async with store_on(redis) as store:
        redis.ask("SCRIPT", "FLUSH")
        first = await store.reserve((subject,), 10, 0)
        assert first.reservation is not None
        redis.ask("SCRIPT", "FLUSH")
        store.settle(first.reservation, 3, 0)

        async def settled() -> bool:
            return await used(store, subject, "tokens_per_minute") == 3

        await until(settled)


@pytest.mark.parametrize("fail_open", [True, False])
async def test_redis_away_is_bounded_and_it_rejoins(redis: Redis, fail_open: bool) -> None:
    """Away: a limit's amount for this gateway, or nothing. Back: limits are shared again."""
    subject = Subject(KEY, "key", "k", Rates(requests=5, tokens_day=1000))
    how: list[str] = []
    async with store_on(redis, fail_open=fail_open, timeout=0.1, fell_back=how.append) as store:
        assert (await store.reserve((subject,), 1, 0)).reservation is not None
        redis.kill()
        await until(lambda: not store.connection.up)
        if fail_open:
            decisions = [await store.reserve((subject,), 10, 0) for _ in range(9)]
            let = [each.reservation for each in decisions if each.reservation is not None]
            assert (len(let), set(how)) == (5, {"let"})
            for reservation in let:
                store.settle(reservation, 7, 0)
        else:
            with pytest.raises(APIError) as told:
                await store.reserve((subject,), 10, 0)
            assert (told.value.code, how) == ("limits_unavailable", ["refused"])
        redis.start()
        await until(lambda: store.connection.up)
        how.clear()
        back = await store.reserve((subject,), 1, 0)
        assert back.reservation is not None
        assert not back.reservation.local
        assert how == []


async def test_what_was_used_while_it_was_stopped_is_counted_after_it(redis: Redis) -> None:
    subject = Subject(KEY, "key", "k", Rates(tokens_day=1000))
    async with store_on(redis, timeout=0.1) as store:
        first = await store.reserve((subject,), 100, 0)
        assert first.reservation is not None
        redis.pause()
        doubtful = await store.reserve((subject,), 100, 0)
        assert doubtful.reservation is not None
        assert doubtful.reservation.local
        store.settle(doubtful.reservation, 30, 0)
        store.settle(first.reservation, 40, 0)
        redis.resume()
        await until(lambda: store.connection.up)

        async def counted() -> bool:
            return await used(store, subject, "tokens_per_day") == 70

        await until(counted)


async def test_a_dead_gateways_places_come_back_and_its_spending_stays(shared_redis: Redis) -> None:
    subject = Subject(KEY, "key", "k", Rates(parallel=1, day=100))
    prefix = f"t{os.urandom(6).hex()}"
    async with store_on(shared_redis, prefix=prefix, lease=0.3) as dead:
        assert (await dead.reserve((subject,), 0, 60)).reservation is not None
    async with store_on(shared_redis, prefix=prefix) as alive:

        async def place() -> Any:
            return (await alive.reserve((subject,), 0, 40)).reservation

        alive.settle(await until(place), 0, 40)
        assert await used(alive, subject, "budget_day") == 100


async def test_a_long_request_keeps_its_place(shared_redis: Redis) -> None:
    subject = Subject(KEY, "key", "k", Rates(parallel=1))
    async with store_on(shared_redis, lease=0.3) as store:
        held = (await store.reserve((subject,), 0, 0)).reservation
        assert held is not None
        renewed = asyncio.get_running_loop().time() + 1
        await until(lambda: asyncio.get_running_loop().time() > renewed)
        assert (await store.reserve((subject,), 0, 0)).reservation is None
        store.settle(held, 0, 0)
        assert (await store.reserve((subject,), 0, 0)).reservation is not None
