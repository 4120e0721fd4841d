"""An HTTP/1.1 client for engines: asyncio.Protocol and httptools, kept connections, bounds, time limits.

Generic clients cost more than everything else the gateway does (httpx 8 to 16 times this, aiohttp about
twice). This one does POST with a known body and hands over the answer as it comes; nothing else.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import httptools

from slipway.gateway.outbox import Outbox


class UpstreamError(Exception):
    """The engine gave no usable answer."""


class ConnectFailedError(UpstreamError):
    """No connection came about; the request was not sent."""


class ClosedEarlyError(UpstreamError):
    """The connection was closed before the answer's head was complete."""


class TimedOutError(UpstreamError):
    """The answer, or its next part, did not come in time."""


class BadAnswerError(UpstreamError):
    """What came is not HTTP/1.1, or over a bound."""


class TruncatedError(UpstreamError):
    """The connection was closed in the middle of the body."""


class AbortedError(UpstreamError):
    """The exchange was given up on this side: the client left."""


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """Bounds and time limits (seconds) of the connections to engines."""

    connect: float = 3.0
    """Until the connection stands."""
    first_byte: float = 600.0
    """Until the answer's head, then to its body; an answer that is not streamed is generated meanwhile."""
    idle: float = 300.0
    """Between two parts of a body."""
    keep: float = 15.0
    """How long an unused connection is kept; below the keep-alive limit of the engine's server."""
    idle_connections: int = 256
    """Unused connections kept for each endpoint."""
    head_bytes: int = 65_536
    """Largest head of an answer."""
    buffer_bytes: int = 65_536
    """Bytes held for a client that reads slowly before the engine is made to wait."""


Take = Callable[[bytes], bool]
"""Takes what has come of a body; False: nothing more for now."""


class Connection(asyncio.Protocol):
    """One connection to an engine; carries one exchange at a time.

    `send`, then `head`, then `read` until it gives b"". `abort` closes the socket at once, so the engine
    cancels what it is doing.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: TransportLimits,
        on_lost: "Callable[[Connection], None]",
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.reused = False
        self.closed = False
        self.kept_since = 0.0
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._outbox = Outbox.of(loop)
        self._request = (b"", b"")
        """Not written yet."""
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._take: Take | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._deadline = 0.0
        self._begin()
        self._busy = False

    def _begin(self) -> None:
        self._busy = True
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.started = False
        """Whether anything of the answer has come."""
        self.complete = False
        self.reusable = False
        self._error: UpstreamError | None = None
        self._interim = False
        self._framed = False
        self._head_bytes = 0
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._paused = False

    def send(self, head: bytes, body: bytes) -> None:
        """Write one request; the answer of the one before it must have been read to its end."""
        self._begin()
        self._request = (head, body)
        self._outbox.add(self._flush)

    def _flush(self) -> None:
        head, body = self._request
        self._request = (b"", b"")
        if self._transport is None or self._transport.is_closing():
            return
        if len(body) <= 65_536:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))

    async def head(self) -> int:
        """Wait for the answer's head; returns the status, `headers` holds the rest (names in lower case)."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._wait(self.limits.first_byte)
        return self.status

    @property
    def begun(self) -> bool:
        """Whether something of the body has come, or its end."""
        return bool(self._chunks) or self.complete

    async def beginning(self) -> None:
        """Wait until something of the body has come, or its end."""
        while not self.begun:
            if self._error is not None:
                raise self._error
            await self._wait(self.limits.first_byte)

    async def read(self) -> bytes:
        """What has come of the body since the last call, waiting for something; b"" at the end."""
        while True:
            if self._chunks:
                return self._taken()
            if self.complete:
                return b""
            if self._error is not None:
                raise self._error
            await self._wait(self.limits.idle)

    async def hand_on(self, take: Take) -> None:
        """Call `take` with what comes of the body, in the step in which it comes, until it says False.

        Returns at the end of the body too, or when the connection fails: `read` tells which. To wake a task
        for each event of a stream would cost as much as to pass it on. Raises what `take` raises.
        """
        if self._chunks or self.complete or self._error is not None:
            return
        self._take = take
        try:
            await self._wait(self.limits.idle)
        finally:
            self._take = None

    def _taken(self) -> bytes:
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._paused:
            self._paused = False
            if self._transport is not None and not self.closed:
                self._transport.resume_reading()
        return data

    def abort(self) -> None:
        """Close the socket now, whatever is under way; who waits gets AbortedError."""
        self._fail(AbortedError("given up by the gateway"))

    def keep(self) -> bool:
        """Make ready for the next exchange; False if the connection cannot carry one."""
        if not (self.complete and self.reusable) or self.closed or self._chunks:
            return False
        self._busy = False
        self.reused = True
        self.kept_since = self.loop.time()
        return True

    # --- waiting: one lazy timer a connection, because one a wait costs more than the relay ---------

    async def _wait(self, seconds: float) -> None:
        self._deadline = self.loop.time() + seconds
        if self._timer is None or self._timer_at > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._set_timer()
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _set_timer(self) -> None:
        self._timer_at = self._deadline
        self._timer = self.loop.call_at(self._deadline, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self.loop.time() < self._deadline:
            self._set_timer()
            return
        what = "the next part of the answer" if self.status else "the answer"
        self._fail(TimedOutError(f"{what} did not come in time"))

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self._take is not None and self._chunks:
            self._deadline = self.loop.time() + self.limits.idle
            try:
                more = self._take(self._taken())
            except Exception as error:
                waiter.set_exception(error)
                return
            if more and not self.complete and self._error is None:
                return
        waiter.set_result(None)

    def _fail(self, error: UpstreamError) -> None:
        if self._error is None and not self.complete:
            self._error = error
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    # --- asyncio.Protocol ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._busy or self.complete:
            # Bytes that nobody asked for: this connection's framing cannot be trusted any more.
            self._fail(BadAnswerError("unasked bytes"))
            return
        self.started = True
        if not self.status:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(BadAnswerError("not an HTTP/1.1 answer"))
            return
        if not self.status and self._head_bytes > self.limits.head_bytes:
            self._fail(BadAnswerError("the answer's head is too large"))
            return
        if self._buffered > self.limits.buffer_bytes and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.reusable = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._busy and not self.complete and self._error is None:
            if not self.status:
                self._error = ClosedEarlyError("closed before the answer")
            elif self._framed or exc is not None:
                self._error = TruncatedError("closed in the middle of the body")
            else:
                self.complete = True  # A body without a length ends with the connection (RFC 9112, 6.3).
        self._wake()
        self._on_lost(self)

    # --- httptools ----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.complete:
            raise BadAnswerError("a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status:
            return  # A trailer.
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self._framed = True
        self.headers.append((name, value))
        if len(self.headers) > 128:
            raise BadAnswerError("too many headers")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 101:
            raise BadAnswerError("an upgrade that was not asked for")
        if status < 200:
            self._interim = True
            self.headers = []
            self._framed = False
            return
        self.status = status

    def on_body(self, data: bytes) -> None:
        self._chunks.append(data)
        self._buffered += len(data)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            return
        self.complete = True
        self.reusable = self._parser.should_keep_alive()


class Pool:
    """The kept connections to one endpoint, newest first: the oldest age out when load falls."""

    def __init__(self, host: str, port: int, limits: TransportLimits) -> None:
        self._host = host
        self._port = port
        self._limits = limits
        self._idle: list[Connection] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def acquire(self, *, fresh: bool = False) -> Connection:
        """A connection that can carry an exchange; `fresh` takes no kept one. Raises ConnectFailedError."""
        loop = self._loop
        if loop is None:  # Remembered: asking for it is a call into the kernel on Python 3.11.
            loop = self._loop = asyncio.get_running_loop()
        if not fresh:
            oldest = loop.time() - self._limits.keep
            while self._idle:
                connection = self._idle.pop()
                if not connection.closed and connection.kept_since >= oldest:
                    return connection
                connection.abort()
        try:
            async with asyncio.timeout(self._limits.connect):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop, self._limits, self._lost), self._host, self._port
                )
        except (OSError, TimeoutError) as error:
            raise ConnectFailedError(f"no connection: {type(error).__name__}") from error
        return connection

    def release(self, connection: Connection) -> None:
        """Give a connection back after its exchange; one that cannot be used again is closed."""
        if len(self._idle) < self._limits.idle_connections and connection.keep():
            self._idle.append(connection)
            if self._sweeper is None:
                self._sweeper = connection.loop.call_later(self._limits.keep, self._sweep)
        else:
            connection.abort()

    def close(self) -> None:
        """Close every kept connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.abort()

    def _lost(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    def _sweep(self) -> None:
        self._sweeper = None
        if not self._idle:
            return
        loop = self._idle[0].loop
        oldest = loop.time() - self._limits.keep
        for connection in [each for each in self._idle if each.kept_since < oldest]:
            self._idle.remove(connection)
            connection.abort()
        if self._idle:
            self._sweeper = loop.call_later(self._limits.keep, self._sweep)


class Transport(Protocol):
    """Where the relay gets its connections from."""

    def pool(self, address: str) -> Pool:
        """The pool of one endpoint, `host:port`."""
        ...

    def forget(self, addresses: set[str]) -> None:
        """Close the pools of all endpoints but these."""
        ...


@dataclass(slots=True)
class TCPTransport:
    """Pools over plain TCP, one for each address."""

    limits: TransportLimits = TransportLimits()
    _pools: dict[str, Pool] = field(default_factory=dict)

    def pool(self, address: str) -> Pool:
        """The pool of one endpoint, `host:port` or `[v6]:port`."""
        pool = self._pools.get(address)
        if pool is None:
            host, _, port = address.rpartition(":")
            pool = self._pools[address] = Pool(host.strip("[]"), int(port), self.limits)
        return pool

    def forget(self, addresses: set[str]) -> None:
        """Close the pools of all endpoints but these."""
        for address in self._pools.keys() - addresses:
            self._pools.pop(address).close()
