"""Asks one line of a batch, again where waiting helps."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row

from slipway.gateway.auth import Key
from slipway.gateway.batches.lines import Line, answered, unanswered
from slipway.gateway.batches.store import Result
from slipway.gateway.errors import APIError, invalid_api_key
from slipway.gateway.exchanges import Exchange
from slipway.gateway.requests import Head, new_request_id
from slipway.gateway.routes import Route
from slipway.gateway.sinks import CollectingSink

AGAIN = frozenset((408, 500, 502, 504))
"""Statuses of a fault that another attempt may mend."""
ATTEMPTS = 3
"""Of those; where limits or the engines ask for patience (429, 503) it is asked until the batch expires."""
LONGEST_WAIT = 30.0
SHORTEST_WAIT = 0.05

Perform = Callable[[Exchange, dict[str, Any]], Awaitable[None]]


@dataclass(slots=True)
class Asking:
    """Makes a line's request on behalf of the batch's key."""

    perform: Perform
    routes: Mapping[str, Route]
    clock: Callable[[], float]
    now_us: Callable[[], int]
    _open: dict[str, set[CollectingSink]] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)
    """By batch: no line of it is asked before this time, as one was told to wait."""

    def stop(self, batch: str) -> None:
        """End what is under way for a batch: nobody wants it any more."""
        self._not_before.pop(batch, None)
        for sink in list(self._open.get(batch, ())):
            sink.leave()

    async def ask(
        self,
        row: Row[Any],
        line: Line,
        key_of: Callable[[], Awaitable[Key | None]],
        wanted: Callable[[], bool],
    ) -> Result | None:
        """What came of the line; None if the batch ended before that."""
        faults = 0
        while wanted() and self.now_us() < row.expires_us:
            wait = self._not_before.get(row.id, 0.0) - self.clock()
            if wait > 0:
                await asyncio.sleep(min(wait, 0.5))
                continue
            key = await key_of()
            if key is None:
                return Result(line.number, False, unanswered(row.id, line, invalid_api_key()))
            sink, exchange = await self._perform(row, line, key)
            if sink.left:
                continue
            if sink.cut_off:
                status, faults = 502, faults + 1
            else:
                status = sink.status
                faults += status in AGAIN
            if status in (429, 503):
                self._not_before[row.id] = self.clock() + _patience(sink)
                continue
            if status in AGAIN and faults < ATTEMPTS:
                self._not_before[row.id] = self.clock() + SHORTEST_WAIT * 4**faults
                continue
            return _result(row.id, line, sink, exchange)
        return None

    async def _perform(self, row: Row[Any], line: Line, key: Key) -> tuple[CollectingSink, Exchange]:
        sink = CollectingSink()
        exchange = Exchange(self.routes[row.endpoint], Head(new_request_id()), sink, self.clock())
        exchange.key, exchange.priority, exchange.batch = key, "low", row.id
        held = self._open.setdefault(row.id, set())
        held.add(sink)
        try:
            await self.perform(exchange, dict(line.body))
        except asyncio.CancelledError:
            sink.leave()
            raise
        finally:
            held.discard(sink)
            if not held:
                self._open.pop(row.id, None)
        return sink, exchange


def _patience(sink: CollectingSink) -> float:
    said = sink.header(b"retry-after-ms")
    seconds = int(said) / 1000 if said is not None and said.isdigit() else 1.0
    return min(max(seconds, SHORTEST_WAIT), LONGEST_WAIT)


def _result(batch: str, line: Line, sink: CollectingSink, exchange: Exchange) -> Result:
    if sink.cut_off:
        gone = APIError(502, "engine_cut_off", "The model's engine went away in the middle of its answer.")
        return Result(line.number, False, unanswered(batch, line, gone))
    usage = exchange.usage
    return Result(
        line.number,
        sink.status == 200,
        answered(batch, line, sink.status, exchange.request_id, sink.body),
        usage.prompt if usage is not None else 0,
        usage.cached if usage is not None else 0,
        usage.completion if usage is not None else 0,
    )
