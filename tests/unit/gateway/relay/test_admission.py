"""A place at an endpoint for each call, at once, in turn, or not at all."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.gateway.relay.admission import Admission, QueueFullError, QueueLimits, QueueTimeoutError
from slipway.gateway.relay.balancer import Balancer
from slipway.gateway.relay.calls import Call
from slipway.gateway.relay.queues import CLASSES

HIGH, NORMAL, LOW = range(3)


class World:
    """Endpoints that come and go, and calls that enter and leave."""

    def __init__(self, slots: int = 1, low_share: float = 1.0, **limits: Any) -> None:
        self.now = 1.0
        self.ready: tuple[str, ...] = ("a",)
        self.shed: list[str] = []
        self.balancer = Balancer(lambda: self.now, slots, low_share)
        self.admission = Admission(
            self.balancer, QueueLimits(**limits), lambda: self.now, on_shed=self.shed.append
        )
        self.order: list[Call] = []
        """Calls by when they got a slot."""

    def call(self, key: str = "k", priority: int = NORMAL, tried: tuple[str, ...] = ()) -> Call:
        call = Call("s", lambda: self.ready, lambda address, length: b"", b"", key, priority)
        call.tried.update(tried)
        return call

    def ask(self, call: Call) -> "asyncio.Task[str | None]":
        async def enter() -> str | None:
            address = await self.admission.enter(call)
            if address is not None:
                self.order.append(call)
            return address

        return asyncio.create_task(enter())


async def settle() -> None:
    """Let everybody who can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


def run(script: Coroutine[Any, Any, None]) -> None:
    asyncio.run(script)


async def test_a_freed_slot_is_handed_over_and_nobody_gets_in_between() -> None:
    world = World()
    first, waiting, newcomer = world.call(), world.call("w"), world.call("n")
    assert await world.ask(first) == "a"
    asked = world.ask(waiting)
    await settle()
    world.admission.leave(first, "a")
    late = world.ask(newcomer)  # Before the one that waited has run again.
    assert await asked == "a"
    await settle()
    assert not late.done()
    world.admission.leave(waiting, "a")
    assert await late == "a"


async def test_low_priority_at_its_share_leaves_no_slot_unused() -> None:
    world = World(slots=4, low_share=0.5)
    lows, users = [world.call("b", LOW) for _ in range(10)], [world.call("u") for _ in range(40)]
    tasks = [world.ask(call) for call in lows]
    await settle()
    assert len(world.order) == 2
    tasks += [world.ask(call) for call in users]
    await settle()
    done = 0
    while done < len(world.order):
        # A slot is unused only where nobody but those of low priority waits, and they have their share.
        if any(call.waiter is not None for call in users):
            assert world.balancer.outstanding("a") == 4
        world.admission.leave(world.order[done], "a")
        done += 1
        await settle()
    assert done == 50
    assert Counter(call.key for call in world.order[4:36])["b"] == 2  # It does not starve while others wait.
    assert all(task.result() == "a" for task in tasks)


async def test_users_find_room_while_a_batch_waits_for_more() -> None:
    world = World(slots=4, low_share=0.5, size=3)
    tasks = [world.ask(world.call("b", LOW)) for _ in range(5)]
    await settle()
    assert [await world.ask(world.call("u")) for _ in range(2)] == ["a", "a"]
    assert world.shed == []
    for task in tasks:
        task.cancel()


async def test_nobody_is_turned_away_for_another_keys_crowd() -> None:
    world = World(wait=10.0)
    calls = [world.call("greedy") for _ in range(200)]
    tasks = [world.ask(call) for call in calls[:20]]
    await settle()
    for _ in range(12):  # One a second.
        world.now += 1.0
        world.admission.leave(world.order[-1], "a")
        await settle()
    tasks += [world.ask(call) for call in calls[20:25]]
    await settle()
    with pytest.raises(QueueFullError) as refused:
        await world.ask(world.call("greedy"))
    assert refused.value.reason == "late"
    assert 0.9 <= refused.value.retry_after <= 3.0  # Until its turn would come in time.
    modest = world.ask(world.call("modest"))
    await settle()
    assert not modest.done()
    tasks.append(modest)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_full_queue_makes_room_for_a_key_with_less_and_for_a_higher_class() -> None:
    world = World(size=3)
    assert await world.ask(world.call()) == "a"
    crowd = [world.ask(world.call("greedy")) for _ in range(3)]
    await settle()
    modest = world.ask(world.call("modest"))
    await settle()
    with pytest.raises(QueueFullError) as evicted:
        await crowd[2]
    assert evicted.value.reason == "evicted"
    with pytest.raises(QueueFullError) as full:
        await world.ask(world.call("greedy"))
    assert full.value.reason == "full"
    high = world.ask(world.call("greedy", HIGH))
    await settle()
    with pytest.raises(QueueFullError):
        await modest  # The youngest of the class below.
    for task in (crowd[0], crowd[1], high):
        assert not task.done()
        task.cancel()


async def test_one_services_queue_takes_no_place_from_anothers() -> None:
    world = World(size=2)
    assert await world.ask(world.call()) == "a"
    tasks = [world.ask(world.call()) for _ in range(2)]
    other = Call("other", lambda: ("b",), lambda address, length: b"", b"", "k")
    assert await world.ask(other) == "b"
    second = Call("other", lambda: ("b",), lambda address, length: b"", b"", "k")
    tasks.append(world.ask(second))
    await settle()
    assert not tasks[-1].done()
    for task in tasks:
        task.cancel()


async def test_who_waits_too_long_is_told_when_to_come_again() -> None:
    world = World(wait=0.01)
    assert await world.ask(world.call()) == "a"
    with pytest.raises(QueueTimeoutError) as late:
        await world.ask(world.call())
    assert late.value.retry_after >= 1.0
    assert world.admission.waiting == 0


steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["enter", "enter", "enter", "free", "free", "gone", "cancel", "both", "endpoints", "fail", "time"]
        ),
        st.integers(0, 11),
    ),
    max_size=80,
)


@given(steps, st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_whatever_happens_each_call_has_one_end_and_no_slot_is_lost(
    script: list[tuple[str, int]], slots: int
) -> None:
    run(follow(script, slots))


async def follow(script: list[tuple[str, int]], slots: int) -> None:
    """Calls enter, leave, are cancelled, endpoints come and go: compare with a count of our own."""
    world = World(slots=slots, low_share=0.5, size=6, per_key=4)
    tasks: dict[asyncio.Task[str | None], Call] = {}
    held: list[tuple[Call, str]] = []

    def check() -> None:
        for task, call in list(tasks.items()):
            if not task.done():
                continue
            del tasks[task]
            if task.cancelled() or isinstance(task.exception(), QueueFullError):
                continue
            address = task.result()
            if address is None:
                assert call.gone or not call.untried()
            else:
                assert address not in call.tried
                held.append((call, address))
        for each in "abc":
            assert world.balancer.outstanding(each) == sum(address == each for _, address in held)
            assert world.balancer.outstanding(each) <= slots
        assert world.admission.waiting == len(tasks) <= 6
        # None waits for what it could have.
        for call in tasks.values():
            address = world.balancer.pick(call.ready(), call.tried, low=call.priority == LOW)
            if address is not None:
                world.balancer.done(address, world.balancer.picks, low=call.priority == LOW)
            assert address is None or moved

    for kind, value in script:
        moved = False
        if kind == "enter":
            tried = ("abc"[value % 3],) if value % 4 == 3 else ()
            call = world.call(f"k{value % 3}", value % len(CLASSES), tried)
            tasks[world.ask(call)] = call
        elif kind == "free" and held:
            world.admission.leave(*held.pop(value % len(held)))
        elif kind in ("gone", "cancel", "both") and tasks:
            task = list(tasks)[value % len(tasks)]
            if kind == "both" and held:  # It is given a slot in the same moment.
                world.admission.leave(*held.pop(0))
            if kind == "gone":
                tasks[task].leave()
            else:
                task.cancel()
        elif kind == "endpoints":
            world.ready = tuple(each for bit, each in enumerate("abc") if (value + 1) >> bit & 1)
            world.balancer.forget(set(world.ready))
            world.admission.look_again()
        elif kind == "fail":
            world.balancer.failed("abc"[value % 3])
            moved = True
        elif kind == "time":
            world.now += 5.0
            moved = True
        await settle()
        check()
    while held or tasks:
        for _ in range(len(held)):
            world.admission.leave(*held.pop(0))
        await settle()
        moved = True
        check()
        if not held:
            for call in list(tasks.values()):
                call.leave()
            await settle()
            check()
    assert world.admission.waiting == 0
    assert all(world.balancer.outstanding(each) == 0 for each in "abc")


async def test_calls_wait_for_an_endpoint_that_may_come_up_and_for_no_other() -> None:
    world = World(wait=0.01)
    world.ready = ()
    coming = True
    patient, other = world.call(), world.call()
    patient.may_start, patient.patience = lambda: coming, 60.0
    asked = world.ask(patient)
    assert await world.ask(other) is None
    world.admission.look_again()
    await settle()
    assert world.admission.waiting_for("s") == 1
    world.ready = ("a",)
    world.admission.look_again()
    assert await asked == "a"
    assert world.admission.waiting_for("s") == 0
    world.ready, coming = (), True
    second = world.call()
    second.may_start, second.patience = patient.may_start, 60.0
    asked = world.ask(second)
    await settle()
    coming = False  # Somebody has deleted the service.
    world.admission.look_again()
    assert await asked is None


async def test_an_endpoint_that_does_not_come_up_in_time_is_told_apart_from_busy_ones() -> None:
    world = World(wait=0.01)
    world.ready = ()
    call = world.call()
    call.may_start, call.patience = lambda: True, 0.02
    with pytest.raises(QueueTimeoutError) as caught:
        await world.ask(call)
    assert not caught.value.started
    assert world.admission.waiting == 0


async def test_a_full_revision_holds_back_nobody_who_waits_for_another() -> None:
    world = World(slots=1)
    shares: dict[str, tuple[str, ...]] = {"old": ("a",), "new": ("b",)}

    def of(revision: str) -> Call:
        call = Call("s", lambda: shares[revision], lambda address, length: b"", b"", revision)
        call.apart = True
        return call

    first, second, third, fourth = of("new"), of("new"), of("old"), of("old")
    assert await world.ask(first) == "b"
    blocked = world.ask(second)
    await settle()
    assert await world.ask(third) == "a"
    behind = world.ask(fourth)
    await settle()
    world.admission.leave(third, "a")
    assert await behind == "a"
    assert not blocked.done()
    world.admission.leave(first, "b")
    assert await blocked == "b"
