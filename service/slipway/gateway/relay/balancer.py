"""Which endpoint takes the next request: the ready one with the fewest outstanding requests."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

AVOID_FIRST = 1.0
"""Seconds for which an endpoint is the last choice after its first failure; doubles with each one."""
AVOID_LONGEST = 16.0


@dataclass(slots=True)
class Load:
    """What the gateway knows of one endpoint's load and faults."""

    outstanding: int = 0
    failures: int = 0
    avoid_until: float = 0.0
    last_pick: int = 0


@dataclass(slots=True)
class Balancer:
    """Least outstanding requests; ties go to the one whose turn was longest ago.

    An endpoint that failed is the last choice for a while, but stays a choice: with all of them failed,
    trying is better than refusing.
    """

    clock: Callable[[], float]
    per_endpoint: int
    """Requests that one endpoint is given at the same time."""
    _loads: dict[str, Load] = field(default_factory=dict)
    _picks: int = 0

    def pick(self, ready: Iterable[str], tried: Collection[str] = ()) -> str | None:
        """The address for the next request, its slot taken; None if all are full or tried."""
        best: str | None = None
        best_rank: tuple[bool, int, int] | None = None
        for address in ready:
            if address in tried:
                continue
            load = self._loads.get(address)
            if load is None:
                load = self._loads[address] = Load()
            if load.outstanding >= self.per_endpoint:
                continue
            avoided = load.failures > 0 and load.avoid_until > self.clock()
            rank = (avoided, load.outstanding, load.last_pick)
            if best_rank is None or rank < best_rank:
                best, best_rank = address, rank
        if best is not None:
            load = self._loads[best]
            self._picks += 1
            load.outstanding += 1
            load.last_pick = self._picks
        return best

    def done(self, address: str) -> None:
        """The request that `pick` gave to `address` has ended."""
        load = self._loads.get(address)
        if load is not None and load.outstanding > 0:
            load.outstanding -= 1

    def failed(self, address: str) -> None:
        """`address` did not answer: make it the last choice for a while."""
        load = self._loads.setdefault(address, Load())
        wait = min(AVOID_LONGEST, AVOID_FIRST * 2.0 ** min(load.failures, 10))
        load.failures += 1
        load.avoid_until = self.clock() + wait

    def answered(self, address: str) -> None:
        """`address` gave an answer: its past failures count no more."""
        load = self._loads.get(address)
        if load is not None:
            load.failures = 0

    def outstanding(self, address: str) -> int:
        """Requests under way at `address`."""
        load = self._loads.get(address)
        return load.outstanding if load is not None else 0

    def forget(self, addresses: set[str]) -> None:
        """Drop what is known of all endpoints but these, save those that still work on something."""
        for address in self._loads.keys() - addresses:
            if not self._loads[address].outstanding:
                del self._loads[address]
