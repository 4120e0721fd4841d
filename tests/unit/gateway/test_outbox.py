"""Writes wait for what is ready, and for nothing else."""

import asyncio

from slipway.gateway.outbox import Outbox


async def test_what_is_held_is_written_in_order_after_what_was_ready() -> None:
    loop = asyncio.get_running_loop()
    outbox = Outbox.of(loop)
    done: list[str] = []
    loop.call_soon(done.append, "ready")
    outbox.add(lambda: done.append("first"))
    outbox.add(lambda: done.append("second"))
    assert done == []

    await asyncio.sleep(0)

    assert done == ["ready", "first", "second"]


async def test_what_is_held_meanwhile_is_written_in_the_next_round() -> None:
    outbox = Outbox.of(asyncio.get_running_loop())
    done: list[str] = []

    def first() -> None:
        done.append("first")
        outbox.add(lambda: done.append("second"))

    outbox.add(first)
    await asyncio.sleep(0)
    assert done == ["first"]
    await asyncio.sleep(0)
    assert done == ["first", "second"]


async def test_a_loop_has_one_outbox() -> None:
    loop = asyncio.get_running_loop()
    assert Outbox.of(loop) is Outbox.of(loop)
