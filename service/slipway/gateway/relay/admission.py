"""A place at an endpoint for each call: at once where one is free, otherwise in fair turns or not at all.

A slot that becomes free is handed to the one whose turn it is, in the same step: nobody can take it in
between, and none stays free while somebody waits who may have it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from slipway.gateway.relay.balancer import Balancer
from slipway.gateway.relay.calls import LOW, Call
from slipway.gateway.relay.queues import CLASSES, FairQueue, Turn


class QueueFullError(Exception):
    """All endpoints are busy, and no place before them would be served in time."""

    def __init__(self, reason: str, retry_after: float = 1.0) -> None:
        """`reason`: `full`, `key`, `evicted` or `late`; `retry_after` is in seconds."""
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class QueueTimeoutError(Exception):
    """No endpoint became free in time."""

    def __init__(self, retry_after: float = 1.0, *, started: bool = True) -> None:
        """`retry_after` is in seconds; `started` is False where not even one endpoint was ready."""
        super().__init__("no endpoint became free in time")
        self.retry_after = retry_after
        self.started = started


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Bounds of those who wait, for each service: one that hangs takes no place from another's."""

    size: int = 1024
    """Requests that wait."""
    wait: float = 30.0
    """Seconds that one of them waits."""
    per_key: int = 512
    """Requests of one key that wait."""


@dataclass(slots=True)
class _Waiting:
    call: Call
    granted: "asyncio.Future[str | None]"
    """The endpoint whose slot it has; None where no untried endpoint is left, or the client is gone."""


@dataclass(slots=True)
class _Line:
    """Those who wait for a service, and how fast it serves them."""

    queue: FairQueue[_Waiting] = field(default_factory=FairQueue)
    last: float = 0.0
    """When a slot was freed last while somebody waited; 0.0 before the first."""
    pace: float = 0.0
    """Mean seconds between two slots that are freed, of about the last sixteen."""
    seen: int = 0

    def freed(self, now: float, longest: float) -> None:
        if self.last:
            self.pace += (min(now - self.last, longest) - self.pace) / min(16, self.seen + 1)
            self.seen += 1
        self.last = now

    def expected(self, call: Call) -> float:
        """Seconds until a newcomer is served; 0.0 where too little was seen to refuse anybody for it."""
        return self.queue.ahead(call.key, call.priority) * self.pace if self.seen >= 8 else 0.0


@dataclass(slots=True)
class Admission:
    """Gives slots of endpoints to calls."""

    balancer: Balancer
    limits: QueueLimits
    clock: Callable[[], float]
    on_shed: Callable[[str], None] = lambda reason: None
    on_wait: Callable[[str, float], None] = lambda priority, seconds: None
    waiting: int = 0
    """Calls that wait, over all services."""
    _lines: dict[str, _Line] = field(default_factory=dict)

    async def enter(self, call: Call) -> str | None:
        """An endpoint whose slot is the call's until `leave`; None if no untried one is ready or may come up.

        Raises QueueFullError and QueueTimeoutError. Gives None too when the client leaves meanwhile.
        """
        line = self._lines.get(call.service)
        if line is None or not line.queue.before(call.priority):
            address = self._pick(call)
            if address is not None:
                return address
        if _hopeless(call):
            return None
        if line is None:
            line = self._lines[call.service] = _Line()
        if not len(line.queue):
            line.last = 0.0  # Nobody waited: the time since then says nothing.
        self._make_room(call, line)
        return await self._wait(call, line)

    def leave(self, call: Call, address: str) -> None:
        """The call needs its slot no more: whoever's turn it is may have it."""
        self.balancer.done(address, call.pick, low=call.priority == LOW)
        line = self._lines.get(call.service)
        if line is not None and len(line.queue):
            line.freed(self.clock(), self.limits.wait)
            self._serve(line.queue)

    def look_again(self) -> None:
        """Endpoints have come or gone: those who wait may have them, or wait for nothing."""
        for service, line in list(self._lines.items()):
            for place in list(line.queue):
                call, granted = place.item.call, place.item.granted
                if _hopeless(call) and line.queue.leave(place) and not granted.done():
                    granted.set_result(None)
            while self._serve(line.queue):
                pass
            if not len(line.queue):
                del self._lines[service]

    def waiting_for(self, service: str) -> int:
        """Calls that wait for an endpoint of a service."""
        line = self._lines.get(service)
        return len(line.queue) if line is not None else 0

    def _pick(self, call: Call) -> str | None:
        address = self.balancer.pick(call.ready(), call.tried, low=call.priority == LOW)
        call.pick = self.balancer.picks
        return address

    def _make_room(self, call: Call, line: _Line) -> None:
        """See to it that the call has a place and a turn in time. Raises QueueFullError."""
        limits, queue = self.limits, line.queue
        expected = line.expected(call)
        soon = max(1.0, min(expected, limits.wait))
        if expected > self._longest(call):
            self._shed("late", max(1.0, expected - limits.wait))
        if queue.of_key(call.key) >= limits.per_key:
            self._shed("key", soon)
        if len(queue) >= limits.size:
            victim = queue.victim(call.key, call.priority)
            if victim is None:
                self._shed("full", soon)
            else:
                queue.leave(victim)
                if not victim.item.granted.done():
                    self.on_shed("evicted")
                    victim.item.granted.set_exception(QueueFullError("evicted", soon))

    def _shed(self, reason: str, retry_after: float) -> None:
        self.on_shed(reason)
        raise QueueFullError(reason, retry_after)

    async def _wait(self, call: Call, line: _Line) -> str | None:
        granted: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        place = line.queue.join(call.key, call.priority, _Waiting(call, granted))
        began = self.clock()
        self.waiting += 1
        call.waiter = granted
        # A class before which nobody waits may have room already, and so may an endpoint that is sound again.
        self._serve(line.queue)
        try:
            async with asyncio.timeout(self._longest(call)):
                return await granted
        except BaseException as error:
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                address = granted.result()
                if address is not None:  # It was given a slot in the same moment in which it gave up.
                    self.leave(call, address)
            if isinstance(error, TimeoutError):
                soon = max(1.0, min(line.expected(call), self.limits.wait))
                raise QueueTimeoutError(soon, started=call.untried()) from None
            raise
        finally:
            line.queue.leave(place)
            call.waiter = None
            self.waiting -= 1
            self.on_wait(CLASSES[call.priority], self.clock() - began)

    def _longest(self, call: Call) -> float:
        """Seconds that a call waits: for an endpoint to become free, or for the first to come up."""
        return self.limits.wait if call.untried() else max(self.limits.wait, call.patience)

    def _serve(self, queue: FairQueue[_Waiting]) -> bool:
        """Hand out slots until none is free for anybody; whether somebody got one."""
        some = False
        while queue.serve(self._give):
            some = True
        return some

    def _give(self, waiting: _Waiting) -> Turn:
        call, granted = waiting.call, waiting.granted
        if granted.done():
            return Turn.GONE
        address = self._pick(call)
        if address is not None:
            granted.set_result(address)
            return Turn.TAKEN
        if not _hopeless(call):
            return Turn.NOT_THIS if call.tried or call.apart else Turn.NOT_THIS_CLASS
        granted.set_result(None)
        return Turn.GONE


def _hopeless(call: Call) -> bool:
    """Whether no endpoint is ready that it was not sent to, and none may come up."""
    return not call.untried() and not call.may_start()
