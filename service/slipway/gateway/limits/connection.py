"""A connection to Redis for the hot path: all commands in flight share it, those of one turn share a write.

redis-py takes a connection out of its pool, writes and waits for each command; that costs several times what
the relay of a whole request does. Here a command is packed, joined to those of the same turn of the event
loop, and answered in order. One timer for the connection finds commands that wait too long.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import hiredis
from redis.asyncio.connection import parse_url

Command = tuple[str | bytes | int, ...]
PATIENCE = 3.0
"""Seconds for a connection to be made, and for one that has fallen silent to answer again."""
MOST_IN_FLIGHT = 16_384
"""Commands that wait for their reply; one more is not sent."""


class StoreAwayError(Exception):
    """Redis cannot be asked, or did not answer in time: whether the command took effect is unknown."""


class RedisConnection(asyncio.Protocol):
    """One connection; `up` as long as replies come in time."""

    def __init__(self, url: str, *, timeout: float, on_change: Callable[[bool], None]) -> None:
        """`timeout` is in seconds, for a reply; `on_change` is told when `up` changes."""
        options: Mapping[str, Any] = parse_url(url)
        self._host: str = options.get("host", "localhost")
        self._port: int = options.get("port", 6379)
        self._path: str | None = options.get("path")
        self._login = _login(options)
        self._database: int = int(options.get("db") or 0)
        self._tls = ssl.create_default_context() if url.startswith("rediss://") else None
        self._timeout = timeout
        self._on_change = on_change
        self.up = False
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[float, asyncio.Future[Any] | None]] = deque()
        self._unsent: list[bytes] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, prepare: Callable[["RedisConnection"], Any]) -> None:
        """Stay connected until cancelled. `prepare` is awaited on each new connection before it is `up`."""
        self._loop = asyncio.get_running_loop()
        pause = 0.05
        try:
            while True:
                try:
                    await self._look_after(prepare)
                    pause = 0.05
                except (OSError, StoreAwayError, hiredis.HiredisError):
                    pause = min(2.0, pause * 2)
                self._change(up=False)
                await asyncio.sleep(pause)
        finally:
            self._close()

    def execute(self, *command: str | bytes | int) -> "asyncio.Future[Any]":
        """Send a command; its reply, an hiredis.ReplyError where it is one. Both may raise StoreAwayError."""
        loop = self._loop
        if loop is None or self._transport is None or len(self._waiting) >= MOST_IN_FLIGHT:
            raise StoreAwayError
        future: asyncio.Future[Any] = loop.create_future()
        if not self._unsent:
            loop.call_soon(self._flush)
        self._unsent.append(hiredis.pack_command(command))  # type: ignore[arg-type]
        self._waiting.append((loop.time(), future))
        return future

    # --- asyncio ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                if not self._waiting:
                    raise hiredis.ProtocolError("a reply that nobody asked for")
                _, future = self._waiting.popleft()
                if future is not None and not future.done():
                    future.set_result(reply)
        except hiredis.HiredisError:
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(everything=True)

    # --- inside -----------------------------------------------------------------------------------

    async def _look_after(self, prepare: Callable[["RedisConnection"], Any]) -> None:
        """Connect, then watch until the connection ends."""
        self._close()
        self._reader = hiredis.Reader()
        async with asyncio.timeout(PATIENCE):
            await self._connect()
            if self._login:
                _check(await self.execute(*self._login))
            if self._database:
                _check(await self.execute("SELECT", self._database))
            await prepare(self)
        self._change(up=True)
        step = max(0.01, self._timeout / 4)
        while self._transport is not None:
            await asyncio.sleep(step)
            late = self._fail(everything=False)
            if late:
                self._change(up=False)
            elif not self.up:
                # Late replies are taken in order, so an answer to this means that all before it have come.
                async with asyncio.timeout(PATIENCE):
                    await self.execute("PING")
                    await prepare(self)
                self._change(up=True)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        if self._path is not None:
            await loop.create_unix_connection(lambda: self, self._path)
        else:
            await loop.create_connection(lambda: self, self._host, self._port, ssl=self._tls)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None:
            self._transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))

    def _fail(self, *, everything: bool) -> bool:
        """Give up commands that wait too long; True if there were any. Their replies are still awaited."""
        assert self._loop is not None  # noqa: S101 - for the type checker
        before = self._loop.time() - self._timeout
        found = False
        if everything:
            gone, self._waiting, self._unsent = self._waiting, deque(), []
            for _, future in gone:
                if future is not None and not future.done():
                    future.set_exception(StoreAwayError())
                    future.exception()
            return bool(gone)
        for at, (sent, future) in enumerate(self._waiting):
            if sent > before:
                break
            if future is not None and not future.done():
                found = True
                future.set_exception(StoreAwayError())
                future.exception()
                self._waiting[at] = (sent, None)
        return found

    def _change(self, *, up: bool) -> None:
        if up != self.up:
            self.up = up
            self._on_change(up)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self._fail(everything=True)


def _login(options: Mapping[str, Any]) -> Command:
    user, password = options.get("username"), options.get("password")
    if not password:
        return ()
    return ("AUTH", user, password) if user else ("AUTH", password)


def _check(reply: Any) -> None:
    if isinstance(reply, hiredis.ReplyError):
        raise reply


__all__ = ["RedisConnection", "StoreAwayError"]
