"""Answers on their way out, and clients that leave."""

import asyncio
from collections.abc import AsyncGenerator, MutableMapping
from typing import Any

import pytest

from slipway.engine.transformers_runtime.replies import ClientLeftError, Events, unless_left

Message = MutableMapping[str, Any]


async def gone() -> Message:
    return {"type": "http.disconnect"}


async def stays() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_stream_is_sent_whole_and_closed_once() -> None:
    sent: list[Message] = []
    closed: list[bool] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def events() -> AsyncGenerator[bytes, None]:
        yield b"a"
        yield b"b"

    await Events(events, lambda: closed.append(True))({"type": "http"}, stays, send)
    assert [message.get("body") for message in sent] == [None, b"a", b"b", b""]
    assert [message.get("more_body") for message in sent[1:]] == [True, True, False]
    assert closed == [True]


async def test_a_client_that_leaves_before_the_first_event_is_let_go() -> None:
    began: list[bool] = []
    closed: list[bool] = []

    async def send(message: Message) -> None:
        await asyncio.Event().wait()

    async def events() -> AsyncGenerator[bytes, None]:
        began.append(True)
        yield b"a"

    await Events(events, lambda: closed.append(True))({"type": "http"}, gone, send)
    assert (began, closed) == ([], [True])


async def test_work_is_cancelled_when_its_client_leaves() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    leave = asyncio.Event()

    async def receive() -> Message:
        await leave.wait()
        return {"type": "http.disconnect"}

    asking = asyncio.create_task(unless_left(receive, work()))
    await asyncio.sleep(0)
    leave.set()
    with pytest.raises(ClientLeftError):
        await asking
    assert ended == ["cancelled"]


async def test_work_that_is_done_or_failed_is_told() -> None:
    async def done() -> int:
        return 7

    async def fails() -> int:
        raise ValueError("why")

    assert await unless_left(stays, done()) == 7
    with pytest.raises(ValueError, match="why"):
        await unless_left(stays, fails())
