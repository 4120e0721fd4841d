"""One request on its way to an engine: wait for room, send, try elsewhere until an answer begins."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from slipway.gateway.relay.admission import Admission, QueueFullError, QueueLimits, QueueTimeoutError
from slipway.gateway.relay.balancer import Balancer
from slipway.gateway.relay.budgets import RetryBudget
from slipway.gateway.relay.calls import Call
from slipway.gateway.relay.constraints import UnsatisfiableError, ended_alone_in
from slipway.gateway.relay.transport import (
    AbortedError,
    BadAnswerError,
    ClosedEarlyError,
    ConnectFailedError,
    Connection,
    Pool,
    Take,
    TimedOutError,
    Transport,
    TruncatedError,
    UpstreamError,
)

__all__ = [
    "Answer",
    "Call",
    "ClientGoneError",
    "NoEndpointError",
    "QueueFullError",
    "QueueLimits",
    "QueueTimeoutError",
    "Relay",
    "RelayLimits",
]


class NoEndpointError(Exception):
    """The model has no ready endpoint (that was not tried already)."""


class ClientGoneError(Exception):
    """The client left before its answer was complete."""


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Bounds of the relay."""

    attempts: int = 3
    """Endpoints that one request may be sent to."""
    retry_share: float = 0.2
    """Retries for each request, beyond which a failure is told at once."""
    retry_least: float = 2.0
    """Retries a second that there may be in any case, for each service."""
    queue: QueueLimits = field(default_factory=QueueLimits)


@dataclass(slots=True)
class Answer:
    """An engine's answer that has begun. `close` it, read to the end or not."""

    status: int
    address: str
    headers: list[tuple[bytes, bytes]]
    _call: Call
    _relay: "Relay"
    _pool: Pool
    _connection: Connection
    _fault: bool
    """The engine's: an error of its own, or it was cut off."""
    _closed: bool = False
    _held: bytes | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first header called `name` (lower case)."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    async def read(self) -> bytes:
        """The next bytes of the body as they came; b"" at the end. Raises UpstreamError, ClientGoneError."""
        if self._held is not None:
            data, self._held = self._held, b""
            return data
        try:
            data = await self._connection.read()
        except AbortedError:
            raise ClientGoneError from None
        except UpstreamError:
            self._fault = True
            self._relay.balancer.failed(self.address)
            raise
        self._relay.balancer.heard(self.address)
        return data

    async def hand_on(self, take: Take) -> None:
        """Have `take` called with what comes, until it says False, or `read` is to say what has come instead.

        Raises what `take` raises.
        """
        heard, address = self._relay.balancer.heard, self.address

        def taken(data: bytes) -> bool:
            heard(address)
            return take(data)

        await self._connection.hand_on(taken)

    async def whole(self) -> bytes:
        """All of an error's body, or what came of it; `read` gives it again. Raises ClientGoneError."""
        data = b""
        with suppress(UpstreamError):
            while len(data) < _LARGEST_ERROR and (part := await self.read()):
                data += part
        self._held = data
        return data

    def close(self) -> None:
        """Give the endpoint's slot and the connection back; an unread answer is cut off."""
        if self._closed:
            return
        self._closed = True
        self._call.connection = None
        self._pool.release(self._connection)
        self._relay.admission.leave(self._call, self.address)
        self._relay.on_outcome(self.address, not self._fault)

    def forgive(self) -> None:
        """Its error is the request's fault and not the engine's."""
        self._fault = False


class Relay:
    """Sends calls to endpoints. Nothing reaches the client here, so trying again elsewhere is allowed."""

    def __init__(
        self,
        transport: Transport,
        balancer: Balancer,
        limits: RelayLimits | None = None,
        *,
        on_retry: Callable[[str, str], None] = lambda service, reason: None,
        on_shed: Callable[[str], None] = lambda reason: None,
        on_wait: Callable[[str, float], None] = lambda priority, seconds: None,
        on_outcome: Callable[[str, bool], None] = lambda address, sound: None,
        on_first_byte: Callable[[str, float], None] = lambda address, seconds: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.transport = transport
        self.balancer = balancer
        self.limits = limits or RelayLimits()
        self.admission = Admission(balancer, self.limits.queue, clock, on_shed, on_wait)
        self.on_outcome = on_outcome
        """Told of each request that an endpoint was given whether it served it soundly."""
        self._on_first_byte = on_first_byte
        self._on_retry = on_retry
        self._clock = clock
        self._budgets: dict[str, RetryBudget] = {}
        self._unanswered: dict[str, dict[int, Call]] = {}
        """By endpoint: the calls that it has not begun to answer."""

    @property
    def waiting(self) -> int:
        """Calls that wait for a free endpoint."""
        return self.admission.waiting

    async def start(self, call: Call) -> Answer:
        """Send `call` to endpoints until the body of an answer begins.

        An endpoint that cannot be reached, closes before that, or says 503 (it drains) or 429 is given up
        for another one. Raises NoEndpointError, QueueFullError, QueueTimeoutError, ClientGoneError, or the
        last UpstreamError.
        """
        failure: UpstreamError | None = None
        budget = self._budgets.get(call.service)
        if budget is None:
            limits = self.limits
            budget = RetryBudget(self._clock, limits.retry_share, limits.retry_least)
            self._budgets[call.service] = budget
        budget.request()
        while call.attempts < self.limits.attempts:
            address = await self.admission.enter(call)
            if call.gone:
                if address is not None:
                    self.admission.leave(call, address)
                raise ClientGoneError
            if address is None:
                break
            call.attempts += 1
            call.tried.add(address)
            try:
                answer = await self._attempt(call, address)
            except (ConnectFailedError, ClosedEarlyError, TimedOutError) as error:
                failure = error
                self.on_outcome(address, False)
                if not call.stalled:
                    self.balancer.failed(address)
                    if isinstance(error, TimedOutError):
                        raise
                if not self._may_retry(call, budget, _reason(call, error)):
                    break
                call.stalled = False
                continue
            except BadAnswerError:
                self.on_outcome(address, False)
                self.balancer.failed(address)
                raise
            if answer.status == 500 and call.constraint is not None:
                await self._blame(answer, call.constraint)
            if answer.status in _UNWELL:
                self.balancer.failed(address)
                if answer.status in _REFUSED and self._may_retry(call, budget, "refused"):
                    answer.close()
                    continue
            else:
                self.balancer.answered(address)
            return answer
        if failure is not None:
            raise failure
        raise NoEndpointError

    def endpoints_changed(self, addresses: set[str]) -> None:
        """The catalogue has changed: forget endpoints that are gone, let all who wait look again."""
        self.transport.forget(addresses)
        self.balancer.forget(addresses)
        self.admission.look_again()

    def stalled(self, address: str, *, surely: bool) -> None:
        """`address` hangs: eject it, and send what it has not begun to answer elsewhere.

        What can go nowhere else ends only if it hangs `surely`: it may be about to answer after all.
        """
        self.balancer.eject(address)
        for call in list(self._unanswered.get(address, {}).values()):
            if call.connection is not None and (surely or self._another(call)):
                call.stalled = True
                call.connection.abort()

    async def _blame(self, answer: Answer, constraint: str) -> None:
        """Find out whether the request's constraint is at fault. Raises UnsatisfiableError then."""
        refused = False
        try:
            refused = ended_alone_in(await answer.whole())
        except ClientGoneError:
            answer.close()
            raise
        if refused:
            self.balancer.answered(answer.address)
            answer.forgive()
            answer.close()
            raise UnsatisfiableError(constraint)

    def _may_retry(self, call: Call, budget: RetryBudget, reason: str) -> bool:
        if not self._another(call):
            return False
        allowed = budget.retry()
        self._on_retry(call.service, reason if allowed else "over_budget")
        return allowed

    def _another(self, call: Call) -> bool:
        return call.attempts < self.limits.attempts and call.untried()

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
                sent = self._clock()
                connection.send(request_head, call.body)
                try:
                    status = await self._begin(call, address, connection)
                except ClosedEarlyError:
                    # A kept connection that the engine had closed already: the request was never read.
                    if connection.reused and not connection.started:
                        continue
                    raise
                except TruncatedError:
                    raise ClosedEarlyError("closed before the answer's body") from None
                except AbortedError:
                    if call.stalled and not call.gone:
                        raise TimedOutError("the engine hangs") from None
                    raise ClientGoneError from None
                if status < 400:
                    self._on_first_byte(address, self._clock() - sent)
                fault = status in _UNWELL and status != 429
                return Answer(status, address, connection.headers, call, self, pool, connection, fault)
            raise AssertionError("a fresh connection is not a reused one")
        except BaseException:
            call.connection = None
            if connection is not None:
                connection.abort()
            self.admission.leave(call, address)
            raise

    async def _begin(self, call: Call, address: str, connection: Connection) -> int:
        """The answer's status, once its body begins; until then the call can be taken from the endpoint.

        The head alone is no answer: servers send it before the first token is made.
        """
        unanswered = self._unanswered.get(address)
        if unanswered is None:
            unanswered = self._unanswered[address] = {}
        unanswered[call.pick] = call
        try:
            status = await connection.head()
            if not connection.begun:
                self.balancer.heard(address)
                await connection.beginning()
        finally:
            del unanswered[call.pick]
            if not unanswered:
                self._unanswered.pop(address, None)
        return status


_LARGEST_ERROR = 65_536
"""Bytes of an error that are looked into."""
_REFUSED = frozenset((429, 503))
"""Statuses after which another endpoint is asked: this one is full, or drains."""
_UNWELL = frozenset((429, 500, 502, 503, 504))
"""Statuses that speak against an endpoint. 501 does not: the request asked for what it does not do."""


def _reason(call: Call, error: UpstreamError) -> str:
    if call.stalled:
        return "stalled"
    return "unreachable" if isinstance(error, ConnectFailedError) else "closed"
