"""Who is served next when all endpoints of a service are full.

Higher classes of priority go first. Inside a class keys take turns in rounds, one request each: a key with a
thousand requests delays another one's first by one. Every SHARE-th turn goes to a lower class, so that none
starves: with every class waiting, `normal` and `low` have a 32nd of the turns each.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Generic, TypeVar

CLASSES = ("high", "normal", "low")
SHARE = 16

T = TypeVar("T")


class Turn(Enum):
    """What came of somebody's turn."""

    TAKEN = auto()
    """It was served."""
    GONE = auto()
    """It does not wait any more; it had no turn."""
    NOT_THIS = auto()
    """It cannot be served now, but another one may: it keeps its place."""
    NOT_THIS_CLASS = auto()
    """Nobody of its class can be served now."""


@dataclass(slots=True)
class Place(Generic[T]):
    """One that waits."""

    key: str
    priority: int
    """Index into CLASSES."""
    item: T
    number: int
    """Counts arrivals."""


_Line = OrderedDict[int, Place[T]]
"""The places of one key by their number: any of them can leave at no cost."""


@dataclass(slots=True)
class _Class(Generic[T]):
    size: int = 0
    this: "OrderedDict[str, _Line[T]]" = field(default_factory=OrderedDict)
    """Lines whose turn in this round is to come, by key."""
    following: "OrderedDict[str, _Line[T]]" = field(default_factory=OrderedDict)
    """Lines that had their turn in this round."""
    had: set[str] = field(default_factory=set)
    """Keys that had their turn in this round."""

    def line(self, key: str) -> "_Line[T] | None":
        return self.this.get(key) or self.following.get(key)

    def lines(self) -> "Iterator[_Line[T]]":
        yield from self.this.values()
        yield from self.following.values()

    def places(self) -> Iterator[Place[T]]:
        for line in self.lines():
            yield from line.values()

    def add(self, place: Place[T]) -> None:
        line = self.line(place.key)
        if line is None:
            line = (self.following if place.key in self.had else self.this)[place.key] = OrderedDict()
        line[place.number] = place
        self.size += 1

    def remove(self, place: Place[T]) -> bool:
        for lines in (self.this, self.following):
            line = lines.get(place.key)
            if line is not None and line.pop(place.number, None) is not None:
                if not line:
                    del lines[place.key]
                self.size -= 1
                if not self.this:
                    self.this, self.following = self.following, self.this
                    self.had.clear()
                return True
        return False

    def served(self, place: Place[T]) -> None:
        """It was its key's turn."""
        line = self.this.pop(place.key, None)
        if line is not None:
            self.following[place.key] = line
        self.had.add(place.key)
        self.remove(place)


class FairQueue(Generic[T]):
    """Those who wait for one service. Joining and leaving are O(1), and so is a turn that is taken."""

    def __init__(self) -> None:
        self._classes: tuple[_Class[T], ...] = tuple(_Class() for _ in CLASSES)
        self._number = 0
        self._turns = 0

    def __len__(self) -> int:
        return sum(each.size for each in self._classes)

    def __iter__(self) -> Iterator[Place[T]]:
        for group in self._classes:
            yield from group.places()

    def of_key(self, key: str) -> int:
        """How many requests of a key wait."""
        return sum(len(group.line(key) or ()) for group in self._classes)

    def before(self, priority: int) -> bool:
        """Whether anybody waits who goes before a newcomer of this class."""
        return any(group.size for group in self._classes[: priority + 1])

    def ahead(self, key: str, priority: int) -> int:
        """How many of those who wait go before a newcomer, about: its key's turn comes once a round."""
        group = self._classes[priority]
        rounds = len(group.line(key) or ()) + 1
        keys = len(group.this) + len(group.following)
        return sum(each.size for each in self._classes[:priority]) + min(group.size, rounds * keys)

    def join(self, key: str, priority: int, item: T) -> Place[T]:
        """Wait behind the key's others."""
        self._number += 1
        place = Place(key, priority, item, self._number)
        self._classes[priority].add(place)
        return place

    def leave(self, place: Place[T]) -> bool:
        """Stop waiting; False if it did not wait any more."""
        return self._classes[place.priority].remove(place)

    def serve(self, give: Callable[[T], Turn]) -> bool:
        """Offer the next turn to those who wait, in order, until somebody takes it; False if nobody does."""
        for group in self._order():
            if group.size and self._serve(group, give):
                self._turns += 1
                return True
        return False

    @staticmethod
    def _serve(group: _Class[T], give: Callable[[T], Turn]) -> bool:
        gone: list[Place[T]] = []
        taken: Place[T] | None = None
        for place in group.places():
            turn = give(place.item)
            if turn is Turn.GONE:
                gone.append(place)
            elif turn is not Turn.NOT_THIS:
                taken = place if turn is Turn.TAKEN else None
                break
        for place in gone:
            group.remove(place)
        if taken is not None:
            group.served(taken)
        return taken is not None

    def _order(self) -> tuple[_Class[T], ...]:
        high, normal, low = self._classes
        number, rest = divmod(self._turns, SHARE)
        if rest != SHARE - 1:
            return self._classes
        return (low, normal, high) if number % 2 or not high.size else (normal, low, high)

    def victim(self, key: str, priority: int) -> Place[T] | None:
        """Who makes room for a newcomer: the youngest of the lowest class below its own, otherwise the
        youngest of the key that has most waiting in its class, where that is more than the newcomer's has.
        """
        for group in reversed(self._classes[priority + 1 :]):
            if group.size:
                return max((_last(line) for line in group.lines()), key=lambda place: place.number)
        group = self._classes[priority]
        longest = max(group.lines(), key=len, default=None)
        if longest is None or len(longest) <= len(group.line(key) or ()) + 1:
            return None
        return _last(longest)


def _last(line: "_Line[T]") -> Place[T]:
    return line[next(reversed(line))]
