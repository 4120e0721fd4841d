"""Writes to sockets, held until the event loop has seen to everything that had come.

A write wakes whoever reads at the other end, and the wake is what costs: with a peer that is quick it was a
seventh of everything the gateway does for a request. Written in one go, those after the first find the peer
awake. What one connection has to say in that time goes out in one write, an answer's head with its body.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

_OUTBOXES: "WeakKeyDictionary[Any, Outbox]" = WeakKeyDictionary()


class Outbox:
    """Has connections write what they hold, once a round of the event loop."""

    __slots__ = ("_call_soon", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call_soon = loop.call_soon
        self._waiting: list[Callable[[], None]] = []

    @staticmethod
    def of(loop: asyncio.AbstractEventLoop) -> "Outbox":
        """The one outbox of a loop."""
        outbox = _OUTBOXES.get(loop)
        if outbox is None:
            outbox = _OUTBOXES[loop] = Outbox(loop)
        return outbox

    def add(self, flush: Callable[[], None]) -> None:
        """Have `flush` called at the end of this round; it must not fail."""
        if not self._waiting:
            self._call_soon(self._flush)
        self._waiting.append(flush)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for flush in waiting:
            flush()
