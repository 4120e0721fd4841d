"""What becomes of a response in the background: how it was refused, and its events for whoever follows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson

from slipway.gateway.chat.translating import event
from slipway.gateway.errors import APIError
from slipway.gateway.responses import store
from slipway.gateway.responses.tables import WORKING
from slipway.gateway.sinks import CollectingSink
from slipway.gateway.storage.database import Database

TOGETHER = 0.1
"""Seconds in which events are gathered before they are kept, and between two looks for new ones."""
_LOOKS = 5
"""How often to look for the last event of a response that has ended before it is made up."""
_ENDS = ("completed", "incomplete", "failed")

Record = Callable[[list[tuple[int, str]]], Awaitable[None]]


class Outcome(CollectingSink):
    """Takes a response in the background: an error whole, events to be kept; the answer is kept elsewhere."""

    def __init__(self, record: Record | None) -> None:
        """`record` keeps events by their numbers; None: nobody follows."""
        super().__init__()
        self._record = record
        self._held: list[tuple[int, str]] = []
        self._sequence = 0
        self._keeping = asyncio.Lock()
        self._later: asyncio.Task[None] | None = None

    async def write(self, data: bytes, *, more: bool) -> None:
        """See Sink.write."""
        if self.status != 200:
            await super().write(data, more=more)
            return
        if self._record is None or self.left:
            return  # What was cancelled has no other end.
        for each in data.decode().split("\n\n")[:-1]:
            self._held.append((self._sequence, each + "\n\n"))
            self._sequence += 1
        if not more:
            await self._keep(self._record)
        elif self._later is None or self._later.done():
            self._later = asyncio.create_task(self._keep_later(self._record))

    async def _keep_later(self, record: Record) -> None:
        await asyncio.sleep(TOGETHER)
        await self._keep(record)

    async def _keep(self, record: Record) -> None:
        async with self._keeping:
            held, self._held = self._held, []
            if not held:
                return
            try:
                await record(held)
            except APIError:
                self._held = held + self._held  # The database is away; they are kept with the next ones.


async def follow(database: Database, response: str, owner: str, after: int) -> AsyncIterator[bytes]:
    """The events of a response after that number, until it has ended. Raises 404."""
    looks = 0
    while True:
        row, told = await _look(database, response, owner, after)
        for number, data in told:
            after = number
            yield data.encode()
        if told and _is_last(told[-1][1]):
            return
        if row.status not in WORKING and not told:
            looks += 1
            if looks >= _LOOKS or row.status not in _ENDS:
                break
        if len(told) < store.BATCH:
            await asyncio.sleep(TOGETHER)
    if row.status in _ENDS:  # Its own events are gone, or never came to be kept.
        kind = f"response.{row.status}"
        yield event(kind, {"type": kind, "response": store.shown(row), "sequence_number": after + 1})


async def _look(database: Database, response: str, owner: str, after: int) -> Any:
    while True:
        try:
            return await database.run(lambda connection: store.told(connection, response, owner, after))
        except APIError as error:
            if error.status != 503:
                raise
            await asyncio.sleep(1.0)  # The database is away; whoever follows need not know.


def _is_last(data: str) -> bool:
    kind = data.partition("\n")[0].removeprefix("event: ")
    return kind.removeprefix("response.") in _ENDS


def refusal(sink: CollectingSink) -> APIError:
    """The error with which serving refused a request, to be told to whoever asked."""
    told = orjson.loads(sink.body)["error"] if sink.body else {}
    headers = [pair for pair in sink.headers if pair[0].startswith((b"retry-after", b"x-ratelimit-"))]
    return APIError(
        sink.status or 500,
        told.get("code") or "internal_error",
        told.get("message") or "The gateway failed.",
        kind=told.get("type"),
        param=told.get("param"),
        headers=headers,
    )
