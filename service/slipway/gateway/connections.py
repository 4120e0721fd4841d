"""Clients' connections: uvicorn's protocol with the bounds that it does not have.

A request's head has a time limit, a size and a number of headers; a client that takes nothing of its answer
is cut off; what uvicorn answers in plain text becomes the envelope; and ASGI applications see, under the
extension `slipway.client`, when the client leaves, without a task that waits for it. What uvicorn makes anew
for each request (timers, events, its cycle) is made once a connection or not at all: it was a fifth of the
gateway's work.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from slipway.gateway.errors import APIError, overloaded
from slipway.gateway.requests import new_request_id
from slipway.gateway.settings import GatewaySettings
from slipway.gateway.turns import Turn

EXTENSION = "slipway.client"
_ASGI = {"version": "3.0", "spec_version": "2.3"}


class RefusedHeadError(Exception):
    """A head that is refused with a status of its own; raised inside httptools' callbacks."""

    def __init__(self, error: APIError) -> None:
        super().__init__(error.message)
        self.error = error


def _bad_request(message: str) -> APIError:
    return APIError(400, "invalid_http", message)


def _head_too_large() -> APIError:
    return APIError(431, "head_too_large", "The request's head is too large. Send fewer and shorter headers.")


class ClientConnection(HttpToolsProtocol):
    """One client's connection. `settings` is set by `protocol_class`."""

    settings: GatewaySettings
    _leave: Callable[[], None] | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _idle_timer: asyncio.TimerHandle | None = None
    _idle_since = 0.0
    _in_head = False
    _head_bytes = 0
    _hosts = 0

    # --- what the application sees ----------------------------------------------------------------

    @property
    def body_complete(self) -> bool:
        """Whether the whole body of the request in work has arrived."""
        return not self._answering().more_body

    def on_leave(self, call: Callable[[], None] | None) -> None:
        """Have `call` called when the client leaves."""
        self._leave = call
        if call is not None and (self.transport.is_closing() or self._answering().disconnected):
            call()

    def cut(self) -> None:
        """Close without ending the answer."""
        self._answering().disconnected = True
        self.transport.abort()

    def _answering(self) -> Any:
        """The request in work; with pipelined ones behind it that is not the last one that came."""
        return self._current if self._current is not None else self.cycle

    _current: Any = None

    # --- asyncio ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._extensions = {EXTENSION: self}
        self._heard = asyncio.Event()
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
        leave, self._leave = self._leave, None
        if self._current is not None and not self._current.response_complete:
            self._current.disconnected = True
            self._current.message_event.set()
        super().connection_lost(exc)
        if leave is not None:
            leave()

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
        if turn.response_complete:
            return
        turn.body += body
        if len(turn.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self._heard.set()

    def on_message_complete(self) -> None:
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            self._heard.set()

    def _begin_turn(self, version: str) -> None:
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope: Any = self.scope
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = url.path
        scope["query_string"] = url.query or b""
        before = self.cycle
        turn = self.cycle = Turn(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=self._heard,
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        turn.loop = self.loop
        if before is None or before.response_complete:
            self._start_asgi_task(turn, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((turn, self.app))

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._current = cycle
        task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._is_idle)

    # --- answers without the application ----------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        self._answer(_bad_request(msg))

    def _answer(self, error: APIError) -> None:
        """Answer and close, unless another answer is under way: then close only."""
        self._stop_head_timer()
        self._in_head = False
        if self.transport.is_closing():
            return
        current = self._answering()
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
        self.transport.write(b"".join([*lines, b"\r\n", body]))
        self.transport.close()

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
        if self._in_head or not self._answering().response_complete:
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
