"""The queue of objects that are to be looked after, one entry an object however often it is named.

Like client-go's work queue: an object that is named while a worker has it comes up again afterwards, never
twice at the same time; failures wait longer each time, each object for itself.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Queue(Generic[Key]):
    """Keys in the order in which they became due."""

    def __init__(self, first: float, most: float, *, jitter: Callable[[], float] = random.random) -> None:
        """Waits after failures begin with `first` seconds, and end at `most`."""
        self._first = first
        self._most = most
        self._jitter = jitter
        self._due: deque[Key] = deque()
        self._waiting: set[Key] = set()
        """Keys in `_due`, or named again while a worker has them."""
        self._working: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, tuple[float, asyncio.TimerHandle]] = {}
        self._some = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due)

    @property
    def failing(self) -> int:
        """Keys whose last turn failed."""
        return len(self._failures)

    def add(self, key: Key) -> None:
        """Have `key` looked after as soon as a worker is free."""
        if key in self._waiting:
            return
        self._waiting.add(key)
        if key not in self._working:
            self._due.append(key)
            self._some.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Have `key` looked after in `seconds`, or earlier if that was asked before."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        before = self._timers.get(key)
        if before is not None:
            if before[0] <= at:
                return
            before[1].cancel()
        self._timers[key] = (at, loop.call_at(at, self._ring, key))

    def _ring(self, key: Key) -> None:
        del self._timers[key]
        self.add(key)

    async def get(self) -> Key:
        """The next key; `done` or `failed` must follow."""
        while not self._due:
            self._some.clear()
            await self._some.wait()
        key = self._due.popleft()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """The turn of `key` went well."""
        self._failures.pop(key, None)
        self._finish(key)

    def failed(self, key: Key, at_least: float = 0.0) -> float:
        """The turn of `key` failed; the seconds after which it has another."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        wait = min(self._most, self._first * 2.0 ** min(failures - 1, 32))
        wait = max(at_least, wait * (0.75 + self._jitter() / 2))
        self._finish(key)
        self.add_after(key, wait)
        return wait

    def forget(self, key: Key) -> None:
        """`key` is gone: drop what was planned for it."""
        self._failures.pop(key, None)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer[1].cancel()

    def _finish(self, key: Key) -> None:
        self._working.discard(key)
        if key in self._waiting:
            self._due.append(key)
            self._some.set()

    def close(self) -> None:
        """Ring no more."""
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
