"""A request as it arrives: the headers that matter, the body within its bounds, the JSON in it."""

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson

from slipway.gateway.auth import two_credentials
from slipway.gateway.errors import body_too_large, invalid_request, request_timeout

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HEAD = "slipway.head"
"""Where an ASGI scope holds the `Head` of a request that is not relayed."""
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
"""What an id of a request may be."""
_TRACEPARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_WANTED = frozenset(
    (
        b"authorization",
        b"x-api-key",
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"x-request-id",
        b"traceparent",
        b"expect",
    )
)


class LeftError(Exception):
    """The client left while its body was being read."""


@dataclass(slots=True)
class Head:
    """The headers that the gateway reads; all others end here."""

    request_id: bytes
    authorization: bytes | None = None
    api_key: bytes | None = None
    two_keys: bool = False
    content_length: int | None = None
    content_type: bytes = b""
    content_encoding: bytes = b""
    traceparent: bytes | None = None
    expects_continue: bool = False

    def check_credentials(self) -> None:
        """Raise the 400 for a request with more than one key."""
        if self.two_keys:
            raise two_credentials()


def _new_ids() -> Iterator[bytes]:
    """24 hex digits each: about when, then 52 random bits.

    Made for many at once: a call into the kernel for each would cost more. The time in front keeps together
    what is recorded together: an index of ids without any order is written all over with every batch.
    """
    while True:
        front = b"%011x" % (time.time_ns() >> 20)
        bits = os.urandom(7 * 256).hex().encode()
        for start in range(0, len(bits), 14):
            yield front + bits[start : start + 13]


_NEW_IDS = _new_ids()


def new_request_id() -> bytes:
    """A fresh id; those made later sort later, about."""
    return b"req-" + next(_NEW_IDS)


def read_head(headers: list[tuple[bytes, bytes]]) -> Head:
    """Read an ASGI scope's headers. An inbound id that is not plain and short is replaced."""
    head = Head(b"")
    for name, value in headers:
        if name not in _WANTED:
            continue
        if name == b"authorization":
            head.two_keys = head.two_keys or head.authorization is not None or head.api_key is not None
            head.authorization = value
        elif name == b"x-api-key":
            head.two_keys = head.two_keys or head.api_key is not None or head.authorization is not None
            head.api_key = value
        elif name == b"content-length":
            head.content_length = int(value) if value.isdigit() else None
        elif name == b"content-type":
            head.content_type = value
        elif name == b"content-encoding":
            head.content_encoding = value
        elif name == b"x-request-id":
            head.request_id = value if not head.request_id and REQUEST_ID.fullmatch(value) else b""
        elif name == b"traceparent":
            head.traceparent = value if _TRACEPARENT.fullmatch(value) else None
        elif name == b"expect":
            head.expects_continue = True
    if not head.request_id:
        head.request_id = new_request_id()
    return head


async def read_body(head: Head, receive: Receive, most: int, seconds: float, *, ready: bool) -> bytes:
    """The whole body. Raises 413 as soon as it is known to be too large, 408 when it takes too long.

    `ready` says that all of it has arrived, which is the usual case and needs no timer.
    """
    if head.content_length is not None and head.content_length > most:
        raise body_too_large(most)
    if ready:
        return await _collect(receive, most)
    try:
        async with asyncio.timeout(seconds):
            return await _collect(receive, most)
    except TimeoutError:
        raise request_timeout("The request body") from None


async def _collect(receive: Receive, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise LeftError
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > most:
            raise body_too_large(most)
        if not message.get("more_body"):
            return b"".join([*parts, part]) if parts else part
        parts.append(part)


async def drain(head: Head, receive: Receive, most: int = 1_048_576, seconds: float = 1.0) -> bool:
    """Read what is left of a refused body, a little; True if its end has come.

    Closing a connection with unread bytes resets it, and the client may never see why it was refused.
    """
    if head.expects_continue or (head.content_length or 0) > most:
        return False
    size = 0
    try:
        async with asyncio.timeout(seconds):
            while size <= most:
                message = await receive()
                if message["type"] != "http.request":
                    return True
                size += len(message.get("body", b""))
                if not message.get("more_body"):
                    return True
    except TimeoutError:
        pass
    return False


def parse(head: Head, body: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises 400s that say what is wrong."""
    if head.content_encoding and head.content_encoding.lower() != b"identity":
        raise invalid_request(
            "Send the body without Content-Encoding.", "content-encoding", "unsupported_content_encoding"
        )
    kind = head.content_type.partition(b";")[0].strip().lower()
    if kind and kind != b"application/json" and not kind.endswith(b"+json"):
        raise invalid_request(
            "Send the body as JSON, with `Content-Type: application/json`.",
            "content-type",
            "unsupported_content_type",
        )
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}" if body else "it is empty"
        raise invalid_request(f"The body is not valid JSON ({where}).", code="invalid_json") from None
    if type(value) is not dict:
        raise invalid_request("The body must be a JSON object.", code="invalid_json")
    return value


def serialise(body: dict[str, Any]) -> bytes:
    """What the engine gets: written anew, so that it sees exactly what was checked.

    With the client's own bytes a key given twice could mean one thing here and another thing there.
    """
    try:
        return orjson.dumps(body)
    except TypeError:
        raise invalid_request("The body is nested too deeply.", code="invalid_json") from None
