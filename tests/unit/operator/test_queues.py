"""One entry an object, one worker an object, longer waits after each failure."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from slipway_operator.queues import Queue


@pytest.fixture
async def queue() -> AsyncIterator[Queue[str]]:
    made: Queue[str] = Queue(1.0, 60.0, jitter=lambda: 0.5)
    yield made
    made.close()


class Clock:
    """The loop's own time, moved on by the test: what is due rings at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        real, self.ahead = loop.time, 0.0
        monkeypatch.setattr(loop, "time", lambda: real() + self.ahead)

    async def forward(self, seconds: float) -> None:
        self.ahead += seconds
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def test_keys_come_in_the_order_in_which_they_were_named_and_once(queue: Queue[str]) -> None:
    for key in ("a", "b", "a", "c", "b"):
        queue.add(key)
    assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]
    assert len(queue) == 0


async def test_a_key_that_is_named_while_a_worker_has_it_comes_again_afterwards(queue: Queue[str]) -> None:
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_workers_share_keys_and_never_have_the_same_one(queue: Queue[str]) -> None:
    held: set[str] = set()
    turns: list[str] = []

    async def work() -> None:
        while True:
            key = await queue.get()
            assert key not in held
            held.add(key)
            await asyncio.sleep(0)
            if len(turns) < 200:
                queue.add(key)
            turns.append(key)
            held.discard(key)
            queue.done(key)

    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(work()) for _ in range(4)]
        for key in "abcdef":
            queue.add(key)
        while len(turns) < 200 or len(queue):  # noqa: ASYNC110 - there is nothing else to wait for
            await asyncio.sleep(0)
        for worker in workers:
            worker.cancel()
    assert {turns.count(key) // 10 for key in "abcdef"} == {3}


async def test_waits_double_with_each_failure_up_to_the_longest_and_begin_anew(queue: Queue[str]) -> None:
    waits = []
    for _ in range(9):
        queue.add("a")
        await queue.get()
        waits.append(queue.failed("a"))
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert queue.failing == 1
    queue.add("a")
    await queue.get()
    queue.done("a")
    assert queue.failing == 0
    queue.add("a")
    await queue.get()
    assert queue.failed("a") == 1.0


async def test_a_thousand_failures_overflow_nothing(queue: Queue[str]) -> None:
    for _ in range(2000):
        queue.add("a")
        await queue.get()
        assert queue.failed("a") <= 60.0


async def test_a_server_may_ask_for_a_longer_wait(queue: Queue[str], clock: Clock) -> None:
    queue.add("a")
    await queue.get()
    assert queue.failed("a", at_least=7.0) == 7.0
    await clock.forward(6.5)
    assert len(queue) == 0
    await clock.forward(1.0)
    assert await queue.get() == "a"


async def test_jitter_parts_objects_that_failed_together() -> None:
    values = iter((0.0, 1.0))
    queue: Queue[str] = Queue(8.0, 60.0, jitter=lambda: next(values))
    waits: list[Any] = []
    for key in "ab":
        queue.add(key)
        await queue.get()
        waits.append(queue.failed(key))
    queue.close()
    assert waits == [6.0, 10.0]


async def test_of_several_times_the_earliest_counts(queue: Queue[str], clock: Clock) -> None:
    queue.add_after("a", 10)
    queue.add_after("a", 5)
    queue.add_after("a", 20)
    await clock.forward(4)
    assert len(queue) == 0
    await clock.forward(2)
    assert await queue.get() == "a"
    queue.done("a")
    await clock.forward(30)
    assert len(queue) == 0
    queue.add_after("a", 0)
    assert len(queue) == 1


async def test_what_is_gone_comes_no_more(queue: Queue[str], clock: Clock) -> None:
    queue.add("a")
    await queue.get()
    queue.failed("a")
    queue.forget("a")
    await clock.forward(100)
    assert (len(queue), queue.failing) == (0, 0)


async def test_a_worker_waits_until_there_is_something(queue: Queue[str]) -> None:
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.add("a")
    assert await waiting == "a"
