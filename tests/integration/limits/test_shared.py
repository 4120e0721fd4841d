"""The store in Redis keeps what every store must, and what only a shared one can."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings

from integration.awaiting import until
from integration.limits import properties
from integration.limits.properties import KEY, Clock, Step
from integration.limits.stores import TestStore, commands_of, store_on, used
from integration.redis_server import Redis
from slipway.gateway.errors import APIError
from slipway.gateway.limits import LimitStore, Rates, Seed, Subject


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


@pytest.mark.parametrize(("begin", "rates", "seconds"), properties.PERIOD_ENDS)
async def test_a_budget_is_there_again_when_its_period_ends(
    shared_redis: Redis, begin: float, rates: Rates, seconds: int
) -> None:
    await on_one_connection(
        shared_redis, lambda make: properties.tells_when_a_period_ends(make, begin, rates, seconds)
    )


@pytest.mark.parametrize("holds", [properties.seeds_once, properties.goes_on_without_records])
async def test_calendar_counters_begin_with_what_is_recorded(
    shared_redis: Redis, holds: Callable[[properties.MakeSeeded], Coroutine[Any, Any, None]]
) -> None:
    async with store_on(shared_redis, Clock()) as store:
        assert isinstance(store, TestStore)

        async def make_seeded(clock: Clock, seed: Seed) -> LimitStore:
            store.test_clock = store.wall = clock
            store.commands = commands_of(None, 1e8, clock, seeded=True)
            store.seed = seed
            return store

        await holds(make_seeded)


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
        assert not first.reservation.local
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
