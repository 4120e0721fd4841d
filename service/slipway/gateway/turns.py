"""One request of a client's connection and its answer, in place of uvicorn's cycle.

uvicorn writes an answer's head and body to the socket one by one, and each write is a call into the kernel
that costs as much as a tenth of everything the gateway does. Here a head that announces its body's length
waits for the body until the event loop's next round; the head of a streamed answer goes out at once.
"""

import asyncio
import string
from collections.abc import MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

JOINED = 65_536
"""Bytes of a body that are copied behind their head; a larger one is handed over beside it."""
_BODILESS = (204, 304)
_IN_NAMES = (string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode()
_IN_VALUES = bytes(byte for byte in range(256) if byte == 0x09 or (byte >= 0x20 and byte != 0x7F))

Message = MutableMapping[str, Any]


class Turn(RequestResponseCycle):
    """Speaks ASGI with the application; the connection feeds `body`, `more_body` and `message_event`.

    The event may be shared by all turns of a connection: whoever waits looks again at what it waits for.
    """

    loop: asyncio.AbstractEventLoop
    _head = b""
    """Not written yet: the body is due."""
    _handed_over = False
    """The application has the whole request."""

    async def receive(self) -> Any:
        """ASGI's receive."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        while not (self.disconnected or self.response_complete):
            if not self._handed_over and (self.body or not self.more_body):
                body, self.body = bytes(self.body), bytearray()
                self._handed_over = not self.more_body
                return {"type": "http.request", "body": body, "more_body": self.more_body}
            self.flow.resume_reading()
            self.message_event.clear()
            await self.message_event.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """ASGI's send. Raises RuntimeError for what is no answer, before any of it is written."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.response_started:
            self._begin(message)
        elif kind == "http.response.body" and self.response_started and not self.response_complete:
            self._write(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"ASGI message {kind!r} is out of turn")

    def _begin(self, message: Message) -> None:
        status: int = message["status"]
        lines = [STATUS_LINE[status]]
        says_close = False
        headers = [*self.default_headers, *message.get("headers", ())]
        names, values = zip(*headers, strict=True) if headers else ((), ())
        if b"".join(names).translate(None, _IN_NAMES) or b"".join(values).translate(None, _IN_VALUES):
            raise RuntimeError("invalid HTTP header")
        for name, value in headers:
            name = name.lower()
            if name == b"content-length" and self.chunked_encoding is None:
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"transfer-encoding" and value.lower() == b"chunked":
                self.expected_content_length = 0
                self.chunked_encoding = True
            elif name == b"connection" and b"close" in [each.strip() for each in value.lower().split(b",")]:
                self.keep_alive = False
                says_close = True
            lines.append(b"%b: %b\r\n" % (name, value))
        if not self.keep_alive and not says_close:
            lines.append(b"connection: close\r\n")
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in _BODILESS:
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        self.response_started = True
        self.waiting_for_100_continue = False
        head = b"".join(lines)
        if self.chunked_encoding:
            self.transport.write(head)
        else:
            self._head = head
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write a head whose body has not come."""
        head, self._head = self._head, b""
        if head and not self.transport.is_closing():
            self.transport.write(head)

    def _write(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            body = b""
        elif self.chunked_encoding:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            if not more:
                body += b"0\r\n\r\n"
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0 or (self.expected_content_length and not more):
                raise RuntimeError("the body is not as long as its Content-Length")
        if self._head:
            head, self._head = self._head, b""
            if len(body) <= JOINED:
                self.transport.write(head + body)
            else:
                self.transport.writelines((head, body))
        elif body:
            self.transport.write(body)
        if not more:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()
