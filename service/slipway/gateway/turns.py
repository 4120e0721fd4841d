"""One request of a client's connection and its answer, in place of uvicorn's cycle.

What is written goes to the connection, which holds it for the loop's round: an answer's head and its body
leave in one call into the kernel.
"""

import asyncio
import logging
import string
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

_log = logging.getLogger("uvicorn.error")
_BODILESS = (204, 304)
_IN_NAMES = (string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode()
_IN_VALUES = bytes(byte for byte in range(256) if byte == 0x09 or (byte >= 0x20 and byte != 0x7F))
_SPECIAL = frozenset((b"content-length", b"transfer-encoding", b"connection"))
_KNOWN_NAMES = 1024
_names: dict[bytes, tuple[bytes, bytes]] = {}
"""By a header's name as it was given: its line's beginning, and the name if it says how the body is sent."""

Message = MutableMapping[str, Any]
App = Callable[[Any, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class Way(Protocol):
    """The connection of a turn."""

    flow: FlowControl

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of every answer."""
        ...

    def write(self, data: bytes) -> None:
        """Write, at the end of the loop's round at the latest."""
        ...

    def close(self) -> None:
        """Close, once everything is written."""
        ...

    def heard(self) -> Awaitable[Any]:
        """Wait for more of the body, or the end of the turn; may come for nothing."""
        ...

    def ended(self, turn: "Turn") -> None:
        """The answer is complete."""
        ...

    def left(self, turn: "Turn") -> None:
        """The application has returned."""
        ...


class Turn:
    """Speaks ASGI with the application; the connection feeds `body`, `more_body` and `disconnected`."""

    __slots__ = (
        "_chunked",
        "_handed_over",
        "_left",
        "_way",
        "body",
        "disconnected",
        "expects_continue",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
        "task",
    )

    def __init__(self, scope: Any, way: Way, *, keep_alive: bool, expects_continue: bool) -> None:
        self.scope = scope
        self.task: asyncio.Task[None] | None = None
        """Runs the application."""
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.body = bytearray()
        self.more_body = True
        self.disconnected = False
        self.response_started = False
        self.response_complete = False
        self._way = way
        self._handed_over = False
        """The application has the whole request."""
        self._chunked: bool | None = None
        """None: the answer's headers have not said how long its body is."""
        self._left = 0
        """Bytes of the body still to come, where its length was announced."""

    async def run(self, app: App) -> None:
        """Have the application answer, and answer for it where it did not."""
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException as error:
            _log.error("Exception in ASGI application", exc_info=error)
        finally:
            if not (self.response_complete or self.disconnected):
                self._give_up()
            self._way.left(self)

    def _give_up(self) -> None:
        """Answer in the application's place, or let the client see that its answer is not complete."""
        _log.error("The ASGI application ended without a complete answer")
        if not self.response_started:
            self.begin(500, [(b"content-length", b"0"), (b"connection", b"close")])
            self.write(b"", more=False)
        else:
            self._way.close()

    def whole_body(self) -> bytes | None:
        """The body, if all of it has come and nobody has asked for any of it; None otherwise."""
        if self.more_body or self._handed_over:
            return None
        self._handed_over = True
        return bytes(self.body)

    async def receive(self) -> Any:
        """ASGI's receive."""
        if self.expects_continue:
            self.expects_continue = False
            self._way.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self.disconnected or self.response_complete):
            if not self._handed_over and (self.body or not self.more_body):
                body, self.body = bytes(self.body), bytearray()
                self._handed_over = not self.more_body
                return {"type": "http.request", "body": body, "more_body": self.more_body}
            self._way.flow.resume_reading()
            await self._way.heard()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """ASGI's send. Raises RuntimeError for what is no answer, before any of it is written."""
        if self._way.flow.write_paused and not self.disconnected:
            await self._way.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.start":
            self.begin(message["status"], message.get("headers", ()))
        elif kind == "http.response.body":
            self.write(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"ASGI message {kind!r} is not known")

    @property
    def paused(self) -> bool:
        """Whether the client takes its answer too slowly for more."""
        return self._way.flow.write_paused

    async def drain(self) -> None:
        """Wait until the client has taken enough, or is gone."""
        await self._way.flow.drain()

    def begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Write the answer's head. Raises RuntimeError for a header that is none, before any is written."""
        if self.response_started:
            raise RuntimeError("the answer has begun")
        lines = [STATUS_LINE[status]]
        values = []
        says_close = False
        for name, value in (*self._way.default_headers, *headers):
            start, special = _names.get(name) or _learn(name)
            if special:
                if special == b"content-length":
                    if self._chunked is None:
                        self._left, self._chunked = int(value), False
                elif special == b"transfer-encoding":
                    self._chunked = self._chunked or value.lower() == b"chunked" or None
                elif b"close" in [each.strip() for each in value.lower().split(b",")]:
                    self.keep_alive, says_close = False, True
            values.append(value)
            lines += (start, value, b"\r\n")
        if b"".join(values).translate(None, _IN_VALUES):
            raise RuntimeError("invalid HTTP header")
        if not self.keep_alive and not says_close:
            lines.append(b"connection: close\r\n")
        if self._chunked is None and self.scope["method"] != "HEAD" and status not in _BODILESS:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        self.response_started = True
        self.expects_continue = False
        self._way.write(b"".join(lines))

    def write(self, body: bytes, *, more: bool) -> None:
        """Write a part of the answer's body. Raises RuntimeError where it is not as long as announced."""
        if self.disconnected:
            return
        if self.response_complete or not self.response_started:
            raise RuntimeError("the answer has ended, or not begun")
        if self.scope["method"] == "HEAD":
            body = b""
        elif self._chunked:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            if not more:
                body += b"0\r\n\r\n"
        else:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("the body is not as long as its Content-Length")
        if body:
            self._way.write(body)
        if not more:
            self.response_complete = True
            self._way.ended(self)


def _learn(name: bytes) -> tuple[bytes, bytes]:
    """Check a header's name and remember it: names are the gateway's own and few."""
    if not name or name.translate(None, _IN_NAMES):
        raise RuntimeError("invalid HTTP header")
    lower = name.lower()
    known = (lower + b": ", lower if lower in _SPECIAL else b"")
    if len(_names) < _KNOWN_NAMES:
        _names[name] = known
    return known
