"""The store of one process keeps what every store must."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integration.limits import properties
from integration.limits.properties import KEY, Clock, Step
from slipway.gateway.limits import InProcessLimits, LimitStore, Rates, Subject
from slipway.gateway.limits.contract import Seed
from slipway.gateway.limits.seeds import SharedSeed
from slipway.gateway.limits.windows import Window


async def make(clock: Clock) -> LimitStore:
    return InProcessLimits(clock, clock)


@given(properties.subjects, properties.steps)
@settings(max_examples=300, deadline=None)
async def test_it_behaves_as_the_model(asked: tuple[Subject, ...], script: list[Step]) -> None:
    await properties.behaves_as_the_model(make, asked, script)


@given(properties.subjects, properties.steps)
@settings(max_examples=300, deadline=None)
async def test_a_refused_call_fits_exactly_when_it_was_told(
    asked: tuple[Subject, ...], script: list[Step]
) -> None:
    await properties.tells_when_it_fits(make, asked, script)


@pytest.mark.parametrize(("begin", "rates", "seconds"), properties.PERIOD_ENDS)
async def test_a_budget_is_there_again_when_its_period_ends(begin: float, rates: Rates, seconds: int) -> None:
    await properties.tells_when_a_period_ends(make, begin, rates, seconds)


@pytest.mark.parametrize("holds", [properties.seeds_once, properties.goes_on_without_records])
async def test_calendar_counters_begin_with_what_is_recorded(
    holds: Callable[[properties.MakeSeeded], Coroutine[Any, Any, None]],
) -> None:
    async def make_seeded(clock: Clock, seed: Seed) -> LimitStore:
        return InProcessLimits(clock, clock, seed)

    await holds(make_seeded)


async def test_one_question_for_all_who_wait() -> None:
    """However many requests a new day begins with; one whose client leaves does not end it for the others."""
    asked, answered = 0, asyncio.Event()

    async def seed(subject: Subject, period: str, now: float) -> tuple[int, int]:
        nonlocal asked
        asked += 1
        await answered.wait()
        return 0, 500

    clock, subject = Clock(), Subject(KEY, "key", "k", Rates(day=1000))
    store = InProcessLimits(clock, clock, SharedSeed(seed))
    waiting = [asyncio.create_task(store.reserve((subject,), 0, 10)) for _ in range(60)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.pop(0).cancel()
    await asyncio.sleep(0)
    answered.set()
    decisions = await asyncio.gather(*waiting)
    assert sum(decision.reservation is not None for decision in decisions) == 50
    assert asked == 1


async def test_calendar_counters_that_are_forgotten_are_read_anew() -> None:
    """What was open then counts in full when it ends."""
    spent = 500

    async def seed(subject: Subject, period: str, now: float) -> tuple[int, int]:
        return 0, spent

    clock, subject = Clock(), Subject(KEY, "key", "k", Rates(day=1000))
    store = InProcessLimits(clock, clock, seed)
    held = (await store.reserve((subject,), 0, 100)).reservation
    assert held is not None
    store.forget_periods()
    spent = 700
    assert [level.used for level in await store.levels((subject,))] == [700]
    store.settle(held, 0, 30)
    assert [level.used for level in await store.levels((subject,))] == [730]


async def test_memory_is_bounded_by_what_still_counts() -> None:
    clock = Clock()
    store = InProcessLimits(clock, clock, sweep_above=10)
    for number in range(1000):
        clock.advance(10)
        subject = Subject(f"key/{number}", "key", str(number), Rates(requests=1))
        decision = await store.reserve((subject,), 0, 0)
        assert decision.reservation is not None
        store.settle(decision.reservation, 0, 0)
    assert len(store._accounts) <= 20


@given(st.lists(st.floats(0, 3), max_size=300))
def test_a_window_holds_at_most_61_slots(steps: list[float]) -> None:
    window, now = Window(), 0.0
    for gap in steps:
        now += gap
        window.advance(now)
        window.add(now, 1)
        assert len(window._slots) <= 61
        assert window.total == sum(slot.amount for slot in window._slots)


async def test_headers_say_what_is_left_of_the_tightest() -> None:
    clock = Clock(1000.25)
    store = InProcessLimits(clock, clock)
    wide = Subject("owner/o", "owner", "o", Rates(requests=50))
    decision = await store.reserve((wide, Subject(KEY, "key", "k", Rates(requests=5))), 0, 0)
    assert dict(decision.headers()) == {
        b"x-ratelimit-limit-requests": b"5",
        b"x-ratelimit-remaining-requests": b"4",
        b"x-ratelimit-reset-requests": b"60.750s",
    }
