"""Which endpoint takes the next request: the ready one with the fewest outstanding requests, if it is sound.

An endpoint that failed once is the last choice for a moment. One that fails again and again is ejected: it
gets nothing while another is sound, for a time that doubles. After that it is half open: one real request at
a time is its probe, with the other endpoints behind it, since nothing has reached the client yet. A real
request rather than GET /health: an engine may be healthy and answer no request. With no sound endpoint left
all are a choice again, since trying is better than refusing.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

AVOID_FIRST = 1.0
"""Seconds for which an endpoint is the last choice after its first failure; doubles with each one."""
AVOID_LONGEST = 16.0
EJECT_AFTER = 3
"""Failures without an answer between them that eject an endpoint."""


@dataclass(slots=True)
class Load:
    """What the gateway knows of one endpoint's load and faults."""

    outstanding: int = 0
    failures: int = 0
    avoid_until: float = 0.0
    last_pick: int = 0
    probing: bool = False
    """It is half open, and a request is its probe."""
    heard: float = 0.0
    """When something came from it, or its first outstanding request went to it."""

    def ejected(self, now: float) -> bool:
        """Whether it gets nothing while another is sound."""
        return self.failures >= EJECT_AFTER and (self.probing or self.avoid_until > now)


@dataclass(slots=True)
class Balancer:
    """Least outstanding requests; ties go to the one whose turn was longest ago."""

    clock: Callable[[], float]
    per_endpoint: int
    """Requests that one endpoint is given at the same time."""
    low_share: float = 1.0
    """Share of those that requests of low priority may hold an endpoint at."""
    on_eject: Callable[[str], None] = lambda address: None
    _loads: dict[str, Load] = field(default_factory=dict)
    _picks: int = 0

    def pick(self, ready: Iterable[str], tried: Collection[str] = (), *, low: bool = False) -> str | None:
        """The address for the next request, its slot taken; None if all sound ones are full, or all tried."""
        most = max(1, int(self.per_endpoint * self.low_share)) if low else self.per_endpoint
        best: str | None = None
        best_rank: tuple[bool, int, int] | None = None
        ejected: list[str] | None = None
        sound = False
        loads = self._loads
        for address in ready:
            if address in tried:
                continue
            load = loads.get(address)
            if load is None:
                load = loads[address] = Load()
            avoided = False
            if load.failures:
                now = self.clock()
                if load.ejected(now):
                    ejected = [*(ejected or ()), address]
                    continue
                avoided = load.avoid_until > now
            sound = True
            if load.outstanding >= most:
                continue
            rank = (avoided, load.outstanding, load.last_pick)
            if best_rank is None or rank < best_rank:
                best, best_rank = address, rank
        if best is None and not sound and ejected is not None:
            free = [address for address in ejected if loads[address].outstanding < most]
            best = min(free, key=lambda each: (loads[each].outstanding, loads[each].last_pick), default=None)
        if best is not None:
            self._take(loads[best])
        return best

    def _take(self, load: Load) -> None:
        self._picks += 1
        if not load.outstanding:
            load.heard = self.clock()
        load.outstanding += 1
        load.last_pick = self._picks
        if load.failures >= EJECT_AFTER:
            load.probing = True

    def done(self, address: str) -> None:
        """The request that `pick` gave to `address` has ended."""
        load = self._loads.get(address)
        if load is not None and load.outstanding > 0:
            load.outstanding -= 1
            if not load.outstanding:
                load.probing = False

    def failed(self, address: str) -> None:
        """`address` did not answer."""
        load = self._loads.setdefault(address, Load())
        wait = min(AVOID_LONGEST, AVOID_FIRST * 2.0 ** min(load.failures, 10))
        load.failures += 1
        load.avoid_until = self.clock() + wait
        load.probing = False
        if load.failures >= EJECT_AFTER:
            self.on_eject(address)

    def eject(self, address: str) -> None:
        """`address` is known to hang: no need to wait for more failures."""
        load = self._loads.setdefault(address, Load())
        load.failures = max(load.failures, EJECT_AFTER - 1)
        self.failed(address)

    def answered(self, address: str) -> None:
        """`address` gave an answer: its past failures count no more."""
        load = self._loads.get(address)
        if load is not None:
            load.failures = 0
            load.probing = False
            load.heard = self.clock()

    def heard(self, address: str) -> None:
        """Something came from `address`."""
        load = self._loads.get(address)
        if load is not None:
            load.heard = self.clock()

    def silent(self, seconds: float) -> list[str]:
        """Endpoints that have work and gave no sign for so long. Each is told once in that time."""
        now = self.clock()
        found: list[str] = []
        for address, load in self._loads.items():
            if load.outstanding and now - load.heard >= seconds:
                load.heard = now
                found.append(address)
        return found

    def outstanding(self, address: str) -> int:
        """Requests under way at `address`."""
        load = self._loads.get(address)
        return load.outstanding if load is not None else 0

    def ejected(self) -> int:
        """How many endpoints get nothing now."""
        now = self.clock()
        return sum(load.ejected(now) for load in self._loads.values())

    def forget(self, addresses: set[str]) -> None:
        """Drop what is known of all endpoints but these, save those that still work on something."""
        for address in self._loads.keys() - addresses:
            if not self._loads[address].outstanding:
                del self._loads[address]
