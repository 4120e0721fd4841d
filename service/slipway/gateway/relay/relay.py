"""One request on its way to an engine: wait for room, pick, send, try elsewhere until an answer begins."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from slipway.gateway.relay.balancer import Balancer
from slipway.gateway.relay.budgets import RetryBudget
from slipway.gateway.relay.queues import CLASSES, FairQueue, Place
from slipway.gateway.relay.transport import (
    AbortedError,
    BadAnswerError,
    ClosedEarlyError,
    ConnectFailedError,
    Connection,
    Pool,
    TimedOutError,
    Transport,
    UpstreamError,
)

Waiter = asyncio.Future[None]
LOW = CLASSES.index("low")


class NoEndpointError(Exception):
    """The model has no ready endpoint (that was not tried already)."""


class QueueFullError(Exception):
    """All endpoints are busy, and no place before them would be served in time."""

    def __init__(self, reason: str, retry_after: float = 1.0) -> None:
        """`reason`: `full`, `key`, `evicted` or `late`; `retry_after` is in seconds."""
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class QueueTimeoutError(Exception):
    """No endpoint became free in time."""


class ClientGoneError(Exception):
    """The client left before its answer was complete."""


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Bounds of the relay."""

    attempts: int = 3
    """Endpoints that one request may be sent to."""
    queue: int = 1024
    """Requests that wait for a free endpoint, over all models."""
    queue_wait: float = 30.0
    """Seconds that one of them waits."""
    queue_per_key: int = 512
    """Requests of one key that wait, for each service."""
    retry_share: float = 0.2
    """Retries for each request, beyond which a failure is told at once."""
    retry_least: float = 2.0
    """Retries a second that there may be in any case, for each service."""


@dataclass(slots=True)
class Call:
    """One client's request, and the handle by which its leaving reaches the engine."""

    service: str
    """Whose endpoints may answer; requests for the same service share a queue."""
    ready: Callable[[], tuple[str, ...]]
    """The ready endpoints as of now, asked anew before each attempt."""
    head: Callable[[str, int], bytes]
    """Makes the request's head for an address and a body length."""
    body: bytes
    key: str = ""
    """Whose turn it uses up when the endpoints are full."""
    priority: int = CLASSES.index("normal")
    """Index into CLASSES."""
    gone: bool = False
    stalled: bool = False
    """Its endpoint hangs; it was taken away from it."""
    attempts: int = 0
    connection: Connection | None = None
    waiter: "Waiter | None" = None

    def leave(self) -> None:
        """The client is gone: stop waiting, close the engine's connection at once."""
        self.gone = True
        if self.connection is not None:
            self.connection.abort()
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


@dataclass(slots=True)
class Answer:
    """An engine's answer whose head has come. `close` it, read to the end or not."""

    status: int
    address: str
    headers: list[tuple[bytes, bytes]]
    _call: Call
    _relay: "Relay"
    _pool: Pool
    _connection: Connection
    _closed: bool = False

    def header(self, name: bytes) -> bytes | None:
        """The first header called `name` (lower case)."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    async def read(self) -> bytes:
        """The next bytes of the body as they came; b"" at the end. Raises UpstreamError, ClientGoneError."""
        try:
            data = await self._connection.read()
            self._relay.balancer.heard(self.address)
            return data
        except AbortedError:
            raise ClientGoneError from None

    def close(self) -> None:
        """Give the endpoint's slot and the connection back; an unread answer is cut off."""
        if self._closed:
            return
        self._closed = True
        self._call.connection = None
        self._pool.release(self._connection)
        self._relay.free(self._call.service, self.address)


@dataclass(slots=True)
class _Pace:
    """How fast slots of a service are freed while others wait."""

    last: float = 0.0
    each: float = 0.0
    """Mean seconds between two, of about the last sixteen."""
    seen: int = 0

    @property
    def known(self) -> bool:
        """Whether enough was seen to refuse somebody for it."""
        return self.seen >= 8


@dataclass(slots=True)
class Relay:
    """Sends calls to endpoints. Nothing reaches the client here, so trying again elsewhere is allowed."""

    transport: Transport
    balancer: Balancer
    limits: RelayLimits = RelayLimits()
    on_retry: Callable[[str, str], None] = lambda service, reason: None
    on_shed: Callable[[str], None] = lambda reason: None
    on_wait: Callable[[str, float], None] = lambda priority, seconds: None
    clock: Callable[[], float] = monotonic
    waiting: int = 0
    _queues: dict[str, FairQueue[Waiter]] = field(default_factory=dict)
    _budgets: dict[str, RetryBudget] = field(default_factory=dict)
    _unanswered: dict[str, set[int]] = field(default_factory=dict)
    _calls: dict[int, Call] = field(default_factory=dict)
    """Calls whose endpoint has not begun to answer."""
    _paces: dict[str, "_Pace"] = field(default_factory=dict)

    async def start(self, call: Call) -> Answer:
        """Send `call` to endpoints until one begins to answer.

        An endpoint that cannot be reached, closes before it answers, or says 503 (it drains) or 429 is
        given up for another one. Raises NoEndpointError, QueueFullError, QueueTimeoutError, ClientGoneError,
        or the last UpstreamError.
        """
        tried: set[str] = set()
        failure: UpstreamError | None = None
        budget = self._budgets.get(call.service)
        if budget is None:
            limits = self.limits
            budget = RetryBudget(self.clock, limits.retry_share, limits.retry_least)
            self._budgets[call.service] = budget
        budget.request()
        while call.attempts < self.limits.attempts:
            if call.gone:
                raise ClientGoneError
            address = await self._admit(call, tried)
            if address is None:
                break
            call.attempts += 1
            tried.add(address)
            try:
                answer = await self._attempt(call, address)
            except (ConnectFailedError, ClosedEarlyError, TimedOutError) as error:
                failure = error
                if not call.stalled:
                    self.balancer.failed(address)
                    if isinstance(error, TimedOutError):
                        raise
                if not self._another(call, tried):
                    break
                if not budget.retry():
                    self.on_retry(call.service, "over_budget")
                    break
                self.on_retry(call.service, _reason(call, error))
                call.stalled = False
                continue
            except BadAnswerError:
                self.balancer.failed(address)
                raise
            if answer.status in (429, 503) and self._another(call, tried) and budget.retry():
                answer.close()
                self.balancer.failed(address)
                self.on_retry(call.service, "refused")
                continue
            self.balancer.answered(address)
            return answer
        if failure is not None:
            raise failure
        raise NoEndpointError

    def free(self, service: str, address: str) -> None:
        """A slot of `address` is free again: whoever waits longest for the service may have it."""
        self.balancer.done(address)
        queue = self._queues.get(service)
        if queue:
            self._pace(service)
            self._wake(queue)

    def endpoints_changed(self, addresses: set[str]) -> None:
        """The catalogue has changed: forget endpoints that are gone, let all who wait look again."""
        self.transport.forget(addresses)
        self.balancer.forget(addresses)
        for queue in self._queues.values():
            for _ in range(len(queue)):
                self._wake(queue)

    def stalled(self, address: str) -> None:
        """`address` hangs: eject it; calls that it has not begun to answer are tried elsewhere."""
        self.balancer.eject(address)
        for number in list(self._unanswered.get(address, ())):
            call = self._calls.get(number)
            if call is not None and call.connection is not None:
                call.stalled = True
                call.connection.abort()

    def _another(self, call: Call, tried: set[str]) -> bool:
        return call.attempts < self.limits.attempts and any(each not in tried for each in call.ready())

    async def _attempt(self, call: Call, address: str) -> Answer:
        pool = self.transport.pool(address)
        connection: Connection | None = None
        request_head = call.head(address, len(call.body))
        try:
            for fresh in (False, True):
                connection = await pool.acquire(fresh=fresh)
                if call.gone:
                    raise ClientGoneError
                call.connection = connection
                connection.send(request_head, call.body)
                try:
                    status = await self._head(call, address, connection)
                except ClosedEarlyError:
                    # A kept connection that the engine had closed already: the request was never read.
                    if connection.reused and not connection.started:
                        continue
                    raise
                except AbortedError:
                    if call.stalled and not call.gone:
                        raise TimedOutError("the engine hangs") from None
                    raise ClientGoneError from None
                return Answer(status, address, connection.headers, call, self, pool, connection)
            raise AssertionError("a fresh connection is not a reused one")
        except BaseException:
            call.connection = None
            if connection is not None:
                connection.abort()
            self.free(call.service, address)
            raise

    async def _head(self, call: Call, address: str, connection: Connection) -> int:
        """The answer's status; meanwhile the call can be taken away from an endpoint that hangs."""
        number = id(call)
        self._calls[number] = call
        waiting = self._unanswered.get(address)
        if waiting is None:
            waiting = self._unanswered[address] = set()
        waiting.add(number)
        try:
            return await connection.head()
        finally:
            del self._calls[number]
            waiting.discard(number)
            if not waiting and self._unanswered.get(address) is waiting:
                del self._unanswered[address]

    async def _admit(self, call: Call, tried: set[str]) -> str | None:
        """An endpoint with a slot taken for this call; None if no untried endpoint is ready."""
        queue = self._queues.get(call.service)
        low = call.priority == LOW
        if not queue:
            address = self.balancer.pick(call.ready(), tried, low=low)
            if address is not None:
                return address
        if not any(each not in tried for each in call.ready()):
            return None
        if queue is None:
            queue = self._queues[call.service] = FairQueue()
        if not queue and call.service in self._paces:
            self._paces[call.service].last = 0.0  # Nobody waited: the time since then says nothing.
        self._room(call, queue)
        began = self.clock()
        self.waiting += 1
        try:
            async with asyncio.timeout(self.limits.queue_wait):
                return await self._queue(call, tried, queue)
        except TimeoutError:
            raise QueueTimeoutError from None
        finally:
            self.waiting -= 1
            self.on_wait(CLASSES[call.priority], self.clock() - began)

    def _room(self, call: Call, queue: FairQueue[Waiter]) -> None:
        """Make sure that the call has a place in the queue, and a turn in time. Raises QueueFullError."""
        limits = self.limits
        pace = self._paces.get(call.service)
        expected = queue.ahead(call.priority) * pace.each if pace is not None and pace.known else 0.0
        if expected > limits.queue_wait:
            self._shed("late", max(1.0, expected - limits.queue_wait))
        if queue.of_key(call.key) >= limits.queue_per_key:
            self._shed("key", max(1.0, min(expected, limits.queue_wait)))
        if self.waiting >= limits.queue:
            victim = queue.youngest_below(call.priority)
            if victim is None:
                self._shed("full", max(1.0, min(expected, limits.queue_wait)))
            assert victim is not None  # noqa: S101 - for the type checker; _shed raises
            queue.leave(victim)
            if not victim.item.done():
                self.on_shed("evicted")
                victim.item.set_exception(QueueFullError("evicted", max(1.0, expected)))

    def _shed(self, reason: str, retry_after: float) -> None:
        self.on_shed(reason)
        raise QueueFullError(reason, retry_after)

    async def _queue(self, call: Call, tried: set[str], queue: FairQueue[Waiter]) -> str | None:
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        place: Place[Waiter] = queue.join(call.key, call.priority, waiter)
        while True:
            call.waiter = waiter
            try:
                await waiter
            except BaseException:
                if not queue.leave(place) and waiter.done() and not waiter.cancelled():
                    self._pass_on(queue, waiter)
                raise
            finally:
                call.waiter = None
            if call.gone:
                if not queue.leave(place):
                    self._wake(queue)
                raise ClientGoneError
            address = self.balancer.pick(call.ready(), tried, low=call.priority == LOW)
            if address is not None:
                return address
            if not any(each not in tried for each in call.ready()):
                self._wake(queue)
                return None
            waiter = place.item = loop.create_future()
            queue.back(place)

    def _pass_on(self, queue: FairQueue[Waiter], waiter: Waiter) -> None:
        """A turn that had come already goes to the next, unless it was not a turn but a place lost."""
        with suppress(asyncio.CancelledError):
            if waiter.exception() is None:
                self._wake(queue)

    def _pace(self, service: str) -> None:
        """Measure how fast slots are freed while others wait."""
        now = self.clock()
        pace = self._paces.get(service)
        if pace is None:
            pace = self._paces[service] = _Pace()
        if pace.last:
            between = min(now - pace.last, self.limits.queue_wait)
            pace.each += (between - pace.each) / min(16, pace.seen + 1)
            pace.seen += 1
        pace.last = now

    def _wake(self, queue: FairQueue[Waiter]) -> None:
        while (place := queue.next()) is not None:
            if not place.item.done():
                place.item.set_result(None)
                return


def _reason(call: Call, error: UpstreamError) -> str:
    if call.stalled:
        return "stalled"
    return "unreachable" if isinstance(error, ConnectFailedError) else "closed"
