"""The sink that turns an engine's chat completion into another API's answer on its way to the client."""

from collections.abc import Callable
from typing import Any, Protocol

import orjson

from slipway.gateway.errors import JSON, APIError, Headers
from slipway.gateway.sinks import Sink


class Translation(Protocol):
    """One answer in another API's words."""

    def start(self) -> bytes:
        """The events with which a stream begins."""
        ...

    def chunk(self, payload: dict[str, Any]) -> bytes:
        """The events that one chunk becomes."""
        ...

    async def finish(self) -> bytes:
        """The events that end a complete stream. Raises APIError where it cannot be vouched for."""
        ...

    async def whole(self, payload: dict[str, Any]) -> bytes:
        """An answer that is not streamed. Raises APIError likewise."""
        ...

    async def failed(self, code: str, message: str) -> bytes:
        """The events that end a stream which cannot be completed."""
        ...


class TranslatingSink:
    """Takes chat completions, streamed or not, and passes the translation on; errors pass as they are."""

    __slots__ = (
        "_error",
        "_events",
        "_headers",
        "_inner",
        "_parts",
        "_status",
        "_translation",
        "cut",
        "on_leave",
    )

    def __init__(self, inner: Sink, translation: Translation, error: Callable[[APIError], bytes]) -> None:
        """`error` words an error of the gateway's own for the client."""
        self._inner = inner
        self._translation = translation
        self._error = error
        self._status = 0
        self._events = False
        self._headers: Headers = []
        self._parts: list[bytes] = []
        self.cut = inner.cut
        self.on_leave = inner.on_leave

    async def begin(self, status: int, headers: Headers) -> None:
        """See Sink.begin. Of an answer that is not streamed nothing goes out until all of it is there."""
        self._status = status
        self._events = any(
            name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers
        )
        if status != 200:
            await self._inner.begin(status, headers)
        elif self._events:
            await self._inner.begin(status, headers)
            if said := self._translation.start():
                await self._inner.write(said, more=True)
        else:
            self._headers = [pair for pair in headers if pair[0] != b"content-length"]

    async def write(self, data: bytes, *, more: bool) -> None:
        """See Sink.write."""
        if self._status != 200:
            await self._inner.write(data, more=more)
        elif self._events:
            said = b"".join([await self._event(each) for each in _events(data)])
            if said or not more:
                await self._inner.write(said, more=more)
        else:
            self._parts.append(data)
            if not more:
                await self._whole()

    async def _event(self, payload: dict[str, Any] | None) -> bytes:
        if payload is None:
            try:
                return await self._translation.finish()
            except APIError as error:
                return await self._translation.failed(error.code, error.message)
        told = payload.get("error")
        if isinstance(told, dict):
            return await self._translation.failed(str(told.get("code")), str(told.get("message")))
        return self._translation.chunk(payload)

    async def _whole(self) -> None:
        try:
            body = await self._translation.whole(orjson.loads(b"".join(self._parts)))
        except APIError as error:
            body = self._error(error)
            length = (b"content-length", b"%d" % len(body))
            kept = [pair for pair in self._headers if pair[0] != b"content-type"]
            await self._inner.begin(error.status, [JSON, length, *kept, *error.headers])
        else:
            await self._inner.begin(200, [*self._headers, (b"content-length", b"%d" % len(body))])
        await self._inner.write(body, more=False)


def _events(data: bytes) -> list[dict[str, Any] | None]:
    """The payloads of whole events; None for `[DONE]`."""
    found: list[dict[str, Any] | None] = []
    for line in data.splitlines():
        if line.startswith(b"data:"):
            payload = line[5:].strip()
            found.append(None if payload == b"[DONE]" else orjson.loads(payload))
    return found


def event(kind: str, payload: dict[str, Any]) -> bytes:
    """A server-sent event with a name, as Responses and Messages send them."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(payload))
