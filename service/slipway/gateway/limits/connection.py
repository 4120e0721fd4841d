"""A connection to Redis for the hot path: all commands in flight share it, those of one turn share a write.

redis-py takes a connection out of its pool, writes and waits for each command; that costs several times what
the relay of a whole request does (`python -m loadtests.limits_store` measures both). Here a command is joined
to those of the same turn of the event loop, and replies are handed out in order. One timer finds those that
wait too long.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import hiredis

from slipway.gateway.limits.places import Place

Reply = Any
"""Of Redis; an hiredis.ReplyError where it refused, a StoreAwayError where nobody knows."""
PATIENCE = 3.0
"""Seconds for a connection to be made, and for one that has fallen silent to answer again."""
MOST_IN_FLIGHT = 16_384
"""Commands that wait for their reply; one more is not sent."""
PASSING = (
    *("ASK", "BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "MOVED", "NOAUTH", "NOPERM"),
    *("NOREPLICAS", "OOM", "READONLY", "TRYAGAIN"),
)
"""How the refusals begin that are for the state a server is in, not for the command."""
PAUSES = (0.05, 2.0)
"""Shortest and longest seconds between two attempts to connect."""


class StoreAwayError(Exception):
    """Redis did not answer in time, or refused: whether the command took effect is unknown."""


class NotSentError(StoreAwayError):
    """There is no connection: the command had no effect."""


class Link(asyncio.Protocol):
    """One connection from its beginning to its end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[float, Callable[[Reply], None] | None]] = deque()
        self._unsent: list[bytes] = []
        self.ended = asyncio.Event()

    def send(self, packed: bytes, then: Callable[[Reply], None]) -> None:
        """Send a command; `then` gets its reply, and must not raise. Raises NotSentError."""
        if self._transport is None or len(self._waiting) >= MOST_IN_FLIGHT:
            raise NotSentError
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(packed)
        self._waiting.append((self._loop.time(), then))

    def give_up(self, before: float) -> bool:
        """Tell those that have waited since `before` that no reply came in time; True if there were any.

        Their replies are still awaited, so that the others get the right ones.
        """
        late: list[Callable[[Reply], None]] = []
        for at, (sent, then) in enumerate(self._waiting):
            if sent > before:
                break
            if then is not None:
                late.append(then)
                self._waiting[at] = (sent, None)
        for then in late:
            then(StoreAwayError("no reply in time"))
        return bool(late)

    def close(self) -> None:
        """End it now."""
        if self._transport is not None:
            self._transport.abort()
            self._end()

    # --- asyncio ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                if not self._waiting:
                    raise hiredis.ProtocolError("a reply that nobody asked for")
                _, then = self._waiting.popleft()
                if then is not None:
                    then(reply)
        except hiredis.HiredisError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    # --- inside -----------------------------------------------------------------------------------

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None:
            self._transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))

    def _end(self) -> None:
        if self.ended.is_set():
            return
        self._transport = None
        self.ended.set()
        waiting, self._waiting = self._waiting, deque()
        for _, then in waiting:
            if then is not None:
                then(StoreAwayError("the connection ended"))


class RedisConnection:
    """Stays connected; `up` as long as replies come in time."""

    def __init__(self, place: Place, *, timeout: float, on_change: Callable[[bool, str], None]) -> None:
        """`timeout` is in seconds, for a reply; `on_change` is told when `up` changes, and why."""
        self._place = place
        self._timeout = timeout
        self._on_change = on_change
        self._link: Link | None = None
        self._known = self._joined = False
        self.up = False
        self.problem = ""
        """Why it is not `up`."""
        self.tried = asyncio.Event()
        """Set when it is known whether Redis can be asked."""

    async def run(self, prepare: Callable[[], Awaitable[None]]) -> None:
        """Stay connected until cancelled. `prepare` is awaited before it is `up`, each time."""
        pause = PAUSES[0]
        try:
            while True:
                self.problem, self._joined = "the connection ended", False
                try:
                    await self._look_after(prepare)
                except TimeoutError:
                    self.problem = "no answer in time"
                except Exception as error:
                    self.problem = str(error) or type(error).__name__
                pause = PAUSES[0] if self._joined else min(PAUSES[1], pause * 2)
                self._change(up=False)
                self._close()
                await asyncio.sleep(pause)
        finally:
            if self.up and self._link is not None:
                # Replies come in order: with this one all that was sent before has been taken.
                with suppress(TimeoutError, StoreAwayError, hiredis.ReplyError):
                    async with asyncio.timeout(self._timeout):
                        await self.execute("PING")
            self.up = False
            self._close()

    def send(self, packed: bytes, then: Callable[[Reply], None]) -> None:
        """Send a command as Redis reads it; `then` gets its reply and must not raise. Raises NotSentError."""
        if self._link is None:
            raise NotSentError
        self._link.send(packed, then)

    async def execute(self, *command: str | bytes | int) -> Reply:
        """Send a command and wait for its reply. Raises StoreAwayError, hiredis.ReplyError."""
        return await self.ask(hiredis.pack_command(command))  # type: ignore[arg-type]

    def ask(self, packed: bytes) -> "asyncio.Future[Reply]":
        """The reply to come, or its StoreAwayError or hiredis.ReplyError. Raises NotSentError at once."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def then(reply: Reply) -> None:
            if future.done():
                return
            if isinstance(reply, Exception):
                future.set_exception(reply)
            else:
                future.set_result(reply)

        self.send(packed, then)
        return future

    def distrust(self, problem: str) -> None:
        """Redis said something that it should not have: begin anew."""
        self._change(up=False, problem=problem)
        self._close()

    # --- inside -----------------------------------------------------------------------------------

    async def _look_after(self, prepare: Callable[[], Awaitable[None]]) -> None:
        """Connect, then watch until the connection ends."""
        loop = asyncio.get_running_loop()
        link: Link | None = None
        async with asyncio.timeout(PATIENCE):
            link = self._link = await self._connect(Link(loop))
            if self._place.login:
                await self.execute(*self._place.login)
            if self._place.database:
                await self.execute("SELECT", self._place.database)
        step = max(0.01, self._timeout / 4)
        while not link.ended.is_set():
            if not self.up:
                await self._rejoin(prepare, loop)
            with suppress(TimeoutError):
                async with asyncio.timeout(step):
                    await link.ended.wait()
            if link.give_up(loop.time() - self._timeout):
                link.give_up(loop.time())
                self._change(up=False, problem="no answer in time")

    async def _rejoin(self, prepare: Callable[[], Awaitable[None]], loop: asyncio.AbstractEventLoop) -> None:
        """`up`, if Redis answers in time now. Replies come in order, so all before it have come then."""
        async with asyncio.timeout(PATIENCE):
            asked = loop.time()
            await self.execute("PING")
            if loop.time() - asked > self._timeout:
                self._change(up=False, problem="answers too slowly")
                return
            await prepare()
        self._joined = True
        self._change(up=True)

    async def _connect(self, link: Link) -> Link:
        loop, place = asyncio.get_running_loop(), self._place
        if place.path is not None:
            await loop.create_unix_connection(lambda: link, place.path)
        else:
            await loop.create_connection(lambda: link, place.host, place.port, ssl=place.tls)
        return link

    def _change(self, *, up: bool, problem: str = "") -> None:
        self.problem = "" if up else problem or self.problem
        if up != self.up or not self._known:
            self.up, self._known = up, True
            self._on_change(up, self.problem)
        self.tried.set()

    def _close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
