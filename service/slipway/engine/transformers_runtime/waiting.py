"""Work that waits for a forward pass, handed from the event loop's thread to the worker's."""

import threading
from collections import deque
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from slipway.engine.transformers_runtime.errors import queue_full


class Item(Protocol):
    """One text, or one answer to be generated."""

    cancelled: bool
    """Nobody waits for it any more."""

    @property
    def length(self) -> int:
        """Tokens of the input."""
        ...


T = TypeVar("T", bound=Item)


def fitting(lengths: Sequence[int], rows: int, tokens: int) -> int:
    """How many of the first items fit into one padded batch of `rows` rows and `tokens` tokens; at least one.

    All rows of a batch are as long as its longest, so `tokens` bounds rows times the longest.
    """
    longest = 0
    for count, length in enumerate(lengths[:rows]):
        longest = max(longest, length)
        if longest * (count + 1) > tokens and count > 0:
            return count
    return min(len(lengths), rows)


class Waiting(Generic[T]):
    """A bounded queue, first come first served. Safe between threads."""

    def __init__(self, most: int) -> None:
        """Hold `most` items; a request that comes to fewer is taken whole."""
        self._most = most
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return sum(not item.cancelled for item in tuple(self._items))

    def put(self, items: Sequence[T]) -> None:
        """Append the items of one request. Raises RequestError (503) if there is no room."""
        with self._changed:
            self._forget_cancelled()
            if len(self._items) >= self._most:
                raise queue_full()
            self._items.extend(items)
            self._changed.notify()

    def take(self, rows: int, tokens: int) -> list[T]:
        """The next batch, bounded as `fitting` says; empty if nothing waits or `rows` is 0."""
        with self._changed:
            self._forget_cancelled()
            if not self._items or rows < 1:
                return []
            lengths = [item.length for _, item in zip(range(rows), self._items, strict=False)]
            return [self._items.popleft() for _ in range(fitting(lengths, rows, tokens))]

    def wait(self) -> bool:
        """Block until something waits; False once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._items)
            return not self._closed

    def close(self) -> None:
        """End the waiting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether no more work is to be done."""
        return self._closed

    def _forget_cancelled(self) -> None:
        if any(item.cancelled for item in self._items):
            self._items = deque(item for item in self._items if not item.cancelled)
