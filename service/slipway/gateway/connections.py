"""Clients' connections: uvicorn's protocol with the bounds that it does not have.

A request's head has a time limit, a size and a number of headers; a client that takes nothing of its answer
is cut off; what uvicorn answers in plain text becomes the envelope; and ASGI applications see, under the
extension `slipway.client`, when the client leaves, without a task that waits for it. What uvicorn makes anew
for each request (timers, events, its cycle) is made once a connection or not at all: it was a fifth of the
gateway's work.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from slipway.gateway.errors import APIError, overloaded
from slipway.gateway.outbox import Outbox
from slipway.gateway.requests import new_request_id
from slipway.gateway.settings import GatewaySettings
from slipway.gateway.turns import Turn

EXTENSION = "slipway.client"
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_MOST_HELD = 65_536
"""Bytes that are held for one write; what is larger goes out at once, beside and not behind what was held."""


class RefusedHeadError(Exception):
    """A head that is refused with a status of its own; raised inside httptools' callbacks."""

    def __init__(self, error: APIError) -> None:
        super().__init__(error.message)
        self.error = error


def _bad_request(message: str) -> APIError:
    return APIError(400, "invalid_http", message)


def _head_too_large() -> APIError:
    return APIError(431, "head_too_large", "The request's head is too large. Send fewer and shorter headers.")


@lru_cache(1024)  # A few routes are most of what is asked for.
def _split(url: bytes) -> tuple[str, bytes, bytes]:
    """A request target's path for ASGI, its raw path, its query."""
    parsed = httptools.parse_url(url)
    path = parsed.path.decode("ascii")
    return unquote(path) if "%" in path else path, parsed.path, parsed.query or b""


class ClientConnection(HttpToolsProtocol):
    """One client's connection. `settings` is set by `protocol_class`."""

    settings: GatewaySettings
    cycle: Turn | None  # type: ignore[assignment]
    pipeline: deque[Turn]  # type: ignore[assignment]
    _leave: Callable[[], None] | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _idle_timer: asyncio.TimerHandle | None = None
    _idle_since = 0.0
    _in_head = False
    _head_bytes = 0
    _hosts = 0
    _held: list[bytes]
    _held_bytes = 0

    # --- what the application sees ----------------------------------------------------------------

    @property
    def body_complete(self) -> bool:
        """Whether the whole body of the request in work has arrived."""
        return not self.turn.more_body

    @property
    def turn(self) -> Turn:
        """The request in work; with pipelined ones behind it that is not the last one that came."""
        turn = self._current or self.cycle
        assert turn is not None  # noqa: S101 - asked for by a request, or where one has come
        return turn

    def on_leave(self, call: Callable[[], None] | None) -> None:
        """Have `call` called when the client leaves."""
        self._leave = call
        if call is not None and (self.transport.is_closing() or self.turn.disconnected):
            call()

    def cut(self) -> None:
        """Close without ending the answer, but with what was said of it."""
        self.turn.disconnected = True
        self.flush()
        self.transport.abort()

    _current: Turn | None = None

    # --- what a turn sees -------------------------------------------------------------------------

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """See Way.default_headers; uvicorn makes them anew each second, for the date."""
        return self.server_state.default_headers

    def write(self, data: bytes) -> None:
        """See Way.write."""
        held = self._held
        if not held:
            self._outbox.add(self.flush)
        held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > _MOST_HELD:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        held = self._held
        if not held:
            return
        self._held = []
        if not self.transport.is_closing():
            if self._held_bytes <= 2 * _MOST_HELD:
                self.transport.write(held[0] if len(held) == 1 else b"".join(held))
            else:
                self.transport.writelines(held)
        self._held_bytes = 0

    def close(self) -> None:
        """See Way.close."""
        self.flush()
        self.transport.close()

    async def heard(self) -> None:
        """See Way.heard."""
        self._heard.clear()
        await self._heard.wait()

    def ended(self, turn: Turn) -> None:
        """See Way.ended."""
        self._heard.set()
        self.server_state.total_requests += 1
        if not turn.keep_alive:
            self.close()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start(self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._is_idle)

    def left(self, turn: Turn) -> None:
        """See Way.left."""
        if turn.task is not None:
            self.tasks.discard(turn.task)
        turn.task = None

    # --- asyncio ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._extensions = {EXTENSION: self}
        self._heard = asyncio.Event()
        self._outbox = Outbox.of(self.loop)
        self._held = []
        if len(self.connections) > self.settings.max_connections:
            self._answer(overloaded("The gateway has as many connections as it can take. Try again shortly."))
            return
        self._arm_head_timer()

    def data_received(self, data: bytes) -> None:
        if self._in_head or self._head_timer is not None:
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._answer(
                _bad_request("This server does not change protocols. Send HTTP/1.1 without Upgrade.")
            )
            return
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, RefusedHeadError):
                self._answer(cause.error)
            else:
                self._answer(_bad_request("The request is not valid HTTP/1.1."))
            return
        if self._in_head:
            if self._head_bytes > self.settings.max_head:
                self._answer(_head_too_large())
            elif self._head_timer is None:
                self._arm_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_write_timer()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        self.connections.discard(self)
        for turn in (self._current, self.cycle):
            if turn is not None and not turn.response_complete:
                turn.disconnected = True
        self._heard.set()
        self.flow.resume_writing()
        if exc is None:
            self.transport.close()
        self.parser = None  # type: ignore[assignment]
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    def shutdown(self) -> None:
        """Told by the server when it ends: close, after the answer that is under way."""
        if self.cycle is None or self.cycle.response_complete:
            self.close()
        else:
            self.cycle.keep_alive = False

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.settings.write_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_write_timer()

    # --- httptools --------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_size = 0
        self._hosts = 0
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.scope = {
            "type": "http",
            "asgi": _ASGI,  # type: ignore[typeddict-item]
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,  # type: ignore[typeddict-item]
            "root_path": "",
            "headers": self.headers,
            "state": self.app_state.copy(),
            "extensions": self._extensions,  # type: ignore[typeddict-item]
        }

    def on_url(self, url: bytes) -> None:
        self.url += url
        self._head_size += len(url)
        if self._head_size > self.settings.max_head:
            raise RefusedHeadError(_head_too_large())

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # A trailer: nothing that comes after the body may change what was decided on the head.
        name = name.lower()
        self.headers.append((name, value))
        self._head_size += len(name) + len(value)
        if self._head_size > self.settings.max_head or len(self.headers) > self.settings.max_headers:
            raise RefusedHeadError(_head_too_large())
        if name == b"host":
            self._hosts += 1
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        self._stop_head_timer()
        if self.parser.should_upgrade():
            raise RefusedHeadError(
                _bad_request("This server does not change protocols. Send HTTP/1.1 without Upgrade.")
            )
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise RefusedHeadError(_bad_request("This server speaks HTTP/1.1."))
        if self._hosts > 1 or (self._hosts == 0 and version == "1.1"):
            raise RefusedHeadError(_bad_request("The request must carry exactly one Host header."))
        self._begin_turn(version)

    def on_body(self, body: bytes) -> None:
        turn = self.cycle
        if turn is None or turn.response_complete:
            return
        turn.body += body
        if len(turn.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self._heard.set()

    def on_message_complete(self) -> None:
        turn = self.cycle
        if turn is not None and not turn.response_complete:
            turn.more_body = False
            self._heard.set()

    def _begin_turn(self, version: str) -> None:
        scope: Any = self.scope
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"], scope["raw_path"], scope["query_string"] = _split(self.url)
        before = self.cycle
        turn = self.cycle = Turn(
            scope,
            self,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            expects_continue=self.expect_100_continue,
        )
        if before is None or before.response_complete:
            self._start(turn)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft(turn)

    def _start(self, turn: Turn) -> None:
        self._current = turn
        turn.task = self.loop.create_task(turn.run(self.app))
        self.tasks.add(turn.task)

    # --- answers without the application ----------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        self._answer(_bad_request(msg))

    def _answer(self, error: APIError) -> None:
        """Answer and close, unless another answer is under way: then close only."""
        self._stop_head_timer()
        self._in_head = False
        if self.transport.is_closing():
            return
        self.flush()
        current = self._current or self.cycle
        if current is not None and current.response_started and not current.response_complete:
            self.transport.close()
            return
        if current is not None and not current.response_complete:
            current.disconnected = True
        body = error.body()
        lines = [
            STATUS_LINE[error.status],
            b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body),
            b"x-request-id: %b\r\n" % new_request_id(),
        ]
        lines += [b"%b: %b\r\n" % header for header in error.headers]
        self.write(b"".join([*lines, b"\r\n", body]))
        self.close()

    # --- timers -----------------------------------------------------------------------------------

    def _arm_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.settings.head_timeout, self._head_is_late)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._in_head:
            self._answer(
                APIError(408, "request_timeout", "The request's head did not arrive in time. Send it faster.")
            )
        else:
            self.transport.close()  # Connected and never said a word.

    def _is_idle(self) -> None:
        """Close, if nothing was asked since. One lazy timer a connection: one a request costs more."""
        self._idle_timer = None
        if self._in_head or not self.turn.response_complete:
            return  # The end of what is under way sets it anew.
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._is_idle)
        else:
            self.transport.close()

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


def protocol_class(settings: GatewaySettings) -> type[ClientConnection]:
    """The protocol for one gateway's settings, in the shape that uvicorn wants: a class."""
    return type("ConfiguredClientConnection", (ClientConnection,), {"settings": settings})


__all__ = ["EXTENSION", "ClientConnection", "protocol_class"]
