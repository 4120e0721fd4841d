"""A sliding sum over the current second and the sixty full ones before it."""

from collections import deque
from dataclasses import dataclass

from slipway.gateway.limits.contract import SECONDS


@dataclass(slots=True)
class Slot:
    """What was asked for in one second."""

    second: int
    amount: int


class Window:
    """What is asked for enters the slot of its second and stays for the sixty slots after it.

    So never more than the limit falls into any 60 seconds, wherever they begin. At most 61 slots of memory.
    """

    __slots__ = ("_slots", "total")

    def __init__(self) -> None:
        self._slots: deque[Slot] = deque()
        self.total = 0

    def advance(self, now: float) -> None:
        """Let go of what has left the window by `now` (seconds of a clock that never goes back)."""
        oldest = int(now) - SECONDS
        while self._slots and self._slots[0].second < oldest:
            self.total -= self._slots.popleft().amount

    def add(self, now: float, amount: int) -> int:
        """Count `amount` in the slot of `now`; returns the slot's second, for `settle`."""
        second = int(now)
        if self._slots and self._slots[-1].second >= second:
            self._slots[-1].amount += amount
            second = self._slots[-1].second
        else:
            self._slots.append(Slot(second, amount))
        self.total += amount
        return second

    def settle(self, second: int, difference: int) -> None:
        """Correct what was counted in a slot; one that has left the window needs no correction."""
        for slot in reversed(self._slots):
            if slot.second == second:
                slot.amount += difference
                self.total += difference
                return
            if slot.second < second:
                return

    def until_fits(self, now: float, amount: int, limit: int) -> float:
        """Seconds until `amount` more fits under `limit`, which is at least `amount`; 0 if it does now."""
        excess = self.total + amount - limit
        if excess <= 0:
            return 0.0
        for slot in self._slots:
            excess -= slot.amount
            if excess <= 0:
                return max(0.001, slot.second + SECONDS + 1 - now)
        return float(SECONDS + 1)

    def until_empty(self, now: float) -> float:
        """Seconds until nothing counts any more."""
        if not self._slots or not self.total:
            return 0.0
        return max(0.0, self._slots[-1].second + SECONDS + 1 - now)
