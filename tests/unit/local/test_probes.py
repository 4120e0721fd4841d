"""What the gateway is asked before a run counts as up."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from integration.waiting import free_port
from slipway.local.probes import models_settled


@asynccontextmanager
async def gateway(*answers: dict[str, str | None]) -> AsyncIterator[str]:
    """A gateway that says `answers` (model -> why it is not ready) in turn, the last one for good."""
    left = list(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reasons = left.pop(0) if len(left) > 1 else left[0]
        models = [{"name": name, "ready": why is None, "reason": why} for name, why in reasons.items()]
        body = json.dumps({"models": models}).encode()
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_what_the_gateway_takes_up_late_is_awaited() -> None:
    async with gateway({}, {"a": None, "b": "its engine is starting"}, {"a": None, "b": None}) as url:
        assert await models_settled(url, ["a", "b"]) == {}


async def test_what_stays_away_is_named_with_its_reason() -> None:
    async with gateway({"a": None, "b": "its engine is starting"}) as url:
        late = await models_settled(url, ["a", "b", "c"], patience=0)
    assert late == {"b": "its engine is starting", "c": "the gateway does not know it yet"}


async def test_a_gateway_that_does_not_answer_knows_nothing() -> None:
    late = await models_settled(f"http://127.0.0.1:{free_port()}", ["a"], patience=0)
    assert list(late) == ["a"]
