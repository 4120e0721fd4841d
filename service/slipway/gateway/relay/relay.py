"""One request on its way to an engine: wait for room, pick, send, try elsewhere until an answer begins."""

import asyncio
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter

from slipway.gateway.relay.balancer import Balancer
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

Queue = list[tuple[int, asyncio.Future[None]]]
"""Who waits for a service's endpoints, by ticket: first come, first served."""


class NoEndpointError(Exception):
    """The model has no ready endpoint (that was not tried already)."""


class QueueFullError(Exception):
    """All endpoints are busy, and so is the queue before them."""


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
    gone: bool = False
    attempts: int = 0
    connection: Connection | None = None
    waiter: "asyncio.Future[None] | None" = None

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
            return await self._connection.read()
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
class Relay:
    """Sends calls to endpoints. Nothing reaches the client here, so trying again elsewhere is allowed."""

    transport: Transport
    balancer: Balancer
    limits: RelayLimits = RelayLimits()
    on_retry: Callable[[str, str], None] = lambda service, reason: None
    waiting: int = 0
    _queues: dict[str, Queue] = field(default_factory=dict)
    _tickets: int = 0

    async def start(self, call: Call) -> Answer:
        """Send `call` to endpoints until one begins to answer.

        An endpoint that cannot be reached, closes before it answers, or says 503 (it drains) or 429 is
        given up for another one. Raises NoEndpointError, QueueFullError, QueueTimeoutError, ClientGoneError,
        or the last UpstreamError.
        """
        tried: set[str] = set()
        failure: UpstreamError | None = None
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
            except (ConnectFailedError, ClosedEarlyError) as error:
                failure = error
                self.balancer.failed(address)
                self.on_retry(
                    call.service, "unreachable" if isinstance(error, ConnectFailedError) else "closed"
                )
                continue
            except (TimedOutError, BadAnswerError):
                self.balancer.failed(address)
                raise
            if answer.status in (429, 503) and self._another(call, tried):
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
            self._wake(queue)

    def endpoints_changed(self, addresses: set[str]) -> None:
        """The catalogue has changed: forget endpoints that are gone, let all who wait look again."""
        self.transport.forget(addresses)
        self.balancer.forget(addresses)
        for queue in self._queues.values():
            while queue:
                self._wake(queue)

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
                    status = await connection.head()
                except ClosedEarlyError:
                    # A kept connection that the engine had closed already: the request was never read.
                    if connection.reused and not connection.started:
                        continue
                    raise
                except AbortedError:
                    raise ClientGoneError from None
                return Answer(status, address, connection.headers, call, self, pool, connection)
            raise AssertionError("a fresh connection is not a reused one")
        except BaseException:
            call.connection = None
            if connection is not None:
                connection.abort()
            self.free(call.service, address)
            raise

    async def _admit(self, call: Call, tried: set[str]) -> str | None:
        """An endpoint with a slot taken for this call; None if no untried endpoint is ready."""
        queue = self._queues.get(call.service)
        if not queue:
            address = self.balancer.pick(call.ready(), tried)
            if address is not None:
                return address
        if not any(each not in tried for each in call.ready()):
            return None
        if self.waiting >= self.limits.queue:
            raise QueueFullError
        self.waiting += 1
        try:
            async with asyncio.timeout(self.limits.queue_wait):
                return await self._queue(call, tried)
        except TimeoutError:
            raise QueueTimeoutError from None
        finally:
            self.waiting -= 1

    async def _queue(self, call: Call, tried: set[str]) -> str | None:
        queue = self._queues.setdefault(call.service, [])
        self._tickets += 1
        ticket = self._tickets
        while True:
            waiter = call.waiter = asyncio.get_running_loop().create_future()
            insort(queue, (ticket, waiter), key=itemgetter(0))
            try:
                await waiter
            except asyncio.CancelledError:
                self._leave(queue, ticket)
                raise
            finally:
                call.waiter = None
            if call.gone:
                self._leave(queue, ticket)
                raise ClientGoneError
            address = self.balancer.pick(call.ready(), tried)
            if address is not None:
                return address
            if not any(each not in tried for each in call.ready()):
                self._wake(queue)
                return None

    def _leave(self, queue: Queue, ticket: int) -> None:
        """Go without having been served; a turn that had come already goes to the next."""
        for position, (other, _) in enumerate(queue):
            if other == ticket:
                del queue[position]
                return
        self._wake(queue)

    @staticmethod
    def _wake(queue: Queue) -> None:
        while queue:
            _, waiter = queue.pop(0)
            if not waiter.done():
                waiter.set_result(None)
                return
