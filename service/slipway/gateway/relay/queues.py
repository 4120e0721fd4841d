"""Who is served next when all endpoints of a service are full.

Classes of priority go first; inside a class keys take turns, by start-time fair queueing (Goyal, Vin, Cheng
1996) with every request of the same weight: a key with a thousand requests delays another one's first by one
request. Every SHARE-th turn goes to the lowest class that waits, so that none starves.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Generic, TypeVar

CLASSES = ("high", "normal", "low")
SHARE = 16

T = TypeVar("T")


@dataclass(slots=True)
class Place(Generic[T]):
    """One that waits."""

    key: str
    priority: int
    """Index into CLASSES."""
    item: T
    tag: float = 0.0
    number: int = 0
    """Counts arrivals; ties are served in their order."""
    waiting: bool = True


@dataclass(slots=True)
class _Class(Generic[T]):
    now: float = 0.0
    """Virtual time: the tag of the one served last."""
    last: dict[str, float] = field(default_factory=dict)
    """By key: the tag of its last arrival."""
    heap: list[tuple[float, int, Place[T]]] = field(default_factory=list)
    arrivals: deque[Place[T]] = field(default_factory=deque)
    """The same places by their arrival, to find the youngest."""
    size: int = 0


class FairQueue(Generic[T]):
    """Those who wait for one service. All operations are O(log n)."""

    def __init__(self) -> None:
        self._classes: tuple[_Class[T], ...] = tuple(_Class() for _ in CLASSES)
        self._by_key: dict[str, int] = {}
        self._number = 0
        self._turns = 0
        self.size = 0

    def __len__(self) -> int:
        return self.size

    def of_key(self, key: str) -> int:
        """How many requests of a key wait."""
        return self._by_key.get(key, 0)

    def ahead(self, priority: int) -> int:
        """How many are served before a newcomer of this class, at most."""
        return sum(each.size for each in self._classes[: priority + 1])

    def join(self, key: str, priority: int, item: T) -> Place[T]:
        """Wait at the end of the key's turn."""
        group = self._classes[priority]
        self._number += 1
        tag = max(group.now, group.last.get(key, 0.0)) + 1.0
        group.last[key] = tag
        place = Place(key, priority, item, tag, self._number)
        group.arrivals.append(place)
        self._enter(place)
        return place

    def back(self, place: Place[T]) -> None:
        """One that was served and got nothing takes its old turn again."""
        place.waiting = True
        self._enter(place)

    def leave(self, place: Place[T]) -> bool:
        """Stop waiting; False if it did not wait any more."""
        if not place.waiting:
            return False
        self._gone(place)
        return True

    def next(self) -> Place[T] | None:
        """Take the one whose turn it is; None if nobody waits."""
        order: Iterator[_Class[T]] = iter(self._classes)
        self._turns += 1
        if self._turns % SHARE == 0:
            order = reversed(self._classes)
        for group in order:
            while group.heap:
                tag, number, place = heappop(group.heap)
                if place.waiting and (tag, number) == (place.tag, place.number):
                    group.now = max(group.now, tag)
                    self._gone(place)
                    return place
        return None

    def youngest_below(self, priority: int) -> Place[T] | None:
        """The one that came last in the lowest class below this one: it goes where not all have room."""
        for group in reversed(self._classes[priority + 1 :]):
            while group.arrivals:
                if group.arrivals[-1].waiting:
                    return group.arrivals[-1]
                group.arrivals.pop()
        return None

    def _enter(self, place: Place[T]) -> None:
        group = self._classes[place.priority]
        heappush(group.heap, (place.tag, place.number, place))
        group.size += 1
        self.size += 1
        self._by_key[place.key] = self._by_key.get(place.key, 0) + 1

    def _gone(self, place: Place[T]) -> None:
        place.waiting = False
        group = self._classes[place.priority]
        group.size -= 1
        self.size -= 1
        left = self._by_key[place.key] - 1
        if left:
            self._by_key[place.key] = left
        else:
            del self._by_key[place.key]
        while group.arrivals and not group.arrivals[0].waiting:
            group.arrivals.popleft()
        if not group.size:
            # Nobody waits: turns begin anew, and nothing is remembered of keys that may never come again.
            group.now = 0.0
            group.last.clear()
            group.heap.clear()
            group.arrivals.clear()
