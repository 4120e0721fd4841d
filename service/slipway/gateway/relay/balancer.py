"""Which endpoint takes the next request: the ready one with the fewest outstanding requests, if it is sound.

An endpoint that failed once is the last choice for a moment. One that fails again and again is ejected: it
gets nothing while another is sound, for a time that doubles with each ejection. After that it is half open:
one real request at a time is its probe, with the other endpoints behind it, since nothing has reached the
client yet. A real request rather than GET /health: an engine may be healthy and answer no request. With no
sound endpoint left all are a choice again, since trying is better than refusing.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

AVOID_FIRST = 1.0
"""Seconds for which an endpoint is the last choice after a failure."""
EJECT_FIRST = 4.0
"""Seconds of the first ejection; doubles with each that follows without an answer between."""
EJECT_LONGEST = 32.0
EJECT_AFTER = 3
"""Failures without an answer between them that eject an endpoint."""


@dataclass(slots=True)
class Load:
    """What the gateway knows of one endpoint's load and faults."""

    outstanding: int = 0
    low: int = 0
    """Those of them that are of low priority."""
    last_pick: int = 0
    failures: int = 0
    """Since its last answer."""
    ejections: int = 0
    """Since its last answer."""
    avoid_until: float = 0.0
    probe: int = 0
    """It is half open, and the request of this pick is its probe; 0 for none."""
    heard: float = 0.0
    """When something came from it, or its first outstanding request went to it."""
    missed: int = 0
    """Questions whether it lives that it did not answer, since something came from it."""

    def ejected(self, now: float) -> bool:
        """Whether it gets nothing while another is sound."""
        return self.ejections > 0 and (self.probe > 0 or self.avoid_until > now)


@dataclass(slots=True)
class Balancer:
    """Least outstanding requests; ties go to the one whose turn was longest ago."""

    clock: Callable[[], float]
    per_endpoint: int
    """Requests that one endpoint is given at the same time."""
    low_share: float = 1.0
    """Share of those that may be of low priority."""
    on_eject: Callable[[str], None] = lambda address: None
    picks: int = 0
    """Number of the last pick."""
    _loads: dict[str, Load] = field(default_factory=dict)
    _gone: set[str] = field(default_factory=set)
    """Endpoints that are endpoints no more but still work on something."""

    def pick(self, ready: Iterable[str], tried: Collection[str] = (), *, low: bool = False) -> str | None:
        """The address for the next request, its slot taken; None if all sound ones are full, or all tried."""
        best: str | None = None
        best_rank: tuple[bool, int, int] | None = None
        ejected: list[str] | None = None
        sound = False
        loads, most = self._loads, self.per_endpoint
        most_low = max(1, int(most * self.low_share)) if low else most
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
            if load.outstanding >= most or (low and load.low >= most_low):
                continue
            rank = (avoided, load.outstanding, load.last_pick)
            if best_rank is None or rank < best_rank:
                best, best_rank = address, rank
        if best is None and not sound and ejected is not None:
            best = min(
                (each for each in ejected if self._room(loads[each], most_low, low=low)),
                key=lambda each: (loads[each].outstanding, loads[each].last_pick),
                default=None,
            )
        if best is not None:
            self._take(loads[best], low=low)
        return best

    def _room(self, load: Load, most_low: int, *, low: bool) -> bool:
        return load.outstanding < self.per_endpoint and not (low and load.low >= most_low)

    def _take(self, load: Load, *, low: bool) -> None:
        self.picks += 1
        if not load.outstanding:
            load.heard = self.clock()
        load.outstanding += 1
        if low:
            load.low += 1
        load.last_pick = self.picks
        if load.ejections:
            load.probe = self.picks

    def done(self, address: str, pick: int = 0, *, low: bool = False) -> None:
        """The request that this pick gave to `address` has ended, whatever came of it."""
        load = self._loads.get(address)
        if load is not None and load.outstanding > 0:
            load.outstanding -= 1
            if low:
                load.low -= 1
            if load.probe and (load.probe == pick or not load.outstanding):
                load.probe = 0
            if address in self._gone and not load.outstanding:
                self._gone.discard(address)
                del self._loads[address]

    def failed(self, address: str) -> None:
        """`address` did not answer. What fails while it is ejected already is part of the same fault."""
        load = self._loads.setdefault(address, Load())
        now = self.clock()
        load.failures += 1
        if load.failures < EJECT_AFTER:
            load.avoid_until = now + AVOID_FIRST
        elif not load.ejections or load.avoid_until <= now:
            load.avoid_until = now + min(EJECT_LONGEST, EJECT_FIRST * 2.0 ** min(load.ejections, 10))
            load.ejections += 1
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
            if load.failures:
                load.failures = load.ejections = load.probe = 0
                load.avoid_until = 0.0
            load.missed = 0
            load.heard = self.clock()

    def heard(self, address: str) -> None:
        """Something came from `address`."""
        load = self._loads.get(address)
        if load is not None:
            load.missed = 0
            load.heard = self.clock()

    def missed(self, address: str) -> int:
        """`address` did not answer the question whether it lives; how often now, without a sign between."""
        load = self._loads.get(address)
        if load is None:
            return 0
        load.missed += 1
        return load.missed

    def lives(self, address: str) -> None:
        """`address` answered that question: it may be asked for answers again."""
        load = self._loads.get(address)
        if load is not None:
            load.missed = 0

    def hold(self, address: str, seconds: float) -> None:
        """Leave an ejected `address` ejected for so long: no request is to find out that it hangs."""
        load = self._loads.get(address)
        if load is not None and load.ejections:
            load.avoid_until = max(load.avoid_until, self.clock() + seconds)

    def hangs(self, address: str) -> bool:
        """Whether `address` is known to hang, as far as anybody has asked."""
        load = self._loads.get(address)
        return load is not None and load.missed > 0

    def silence(self, address: str) -> float:
        """Seconds for which `address` has had work and gave no sign."""
        load = self._loads.get(address)
        return self.clock() - load.heard if load is not None and load.outstanding else 0.0

    def silent(self, seconds: float) -> list[str]:
        """Endpoints that have work and gave no sign for so long."""
        return [address for address in self._loads if self.silence(address) >= seconds]

    def outstanding(self, address: str) -> int:
        """Requests under way at `address`."""
        load = self._loads.get(address)
        return load.outstanding if load is not None else 0

    def ejected(self) -> int:
        """How many endpoints get nothing now."""
        now = self.clock()
        return sum(load.ejected(now) for load in self._loads.values())

    def forget(self, addresses: set[str]) -> None:
        """Drop what is known of all endpoints but these; of those that still work, when that is done."""
        self._gone = set()
        for address in self._loads.keys() - addresses:
            if self._loads[address].outstanding:
                self._gone.add(address)
            else:
                del self._loads[address]
