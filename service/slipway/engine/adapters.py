"""Loading an adapter while the engine serves: `lora_path` may be a source, which is fetched first.

vLLM knows folders of its own machine alone. A source that is not there (yet) is a 502, so that whoever asked
asks again; one that can never be taken is a 422.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from slipway.sources import fetch
from slipway.sources.errors import (
    CacheError,
    DiskFullError,
    SourceChangedError,
    SourceError,
    SourceNotFoundError,
    UnreachableError,
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Refuse = Callable[[Send, int, str, str], Awaitable[None]]

LOAD = ("POST", "/v1/load_lora_adapter")
_MOST = 64 << 10
"""Bytes of a request's body."""
_PASSING = (SourceNotFoundError, UnreachableError, SourceChangedError, CacheError, DiskFullError)
"""What may be otherwise a moment later."""


def fetched(source: str) -> Path:
    """The folder of a source, in the cache."""
    return fetch(source).path


class AdapterSources:
    """ASGI middleware that puts the folder of a fetched source into requests that load an adapter."""

    def __init__(self, app: App, refuse: Refuse, fetch: Callable[[str], Path] = fetched) -> None:
        """`refuse` answers with a status, a code and a sentence."""
        self._app, self._refuse, self._fetch = app, refuse, fetch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["method"], scope["path"]) != LOAD:
            return await self._app(scope, receive, send)
        body = await _body(receive)
        if body is None:
            return await self._refuse(send, 413, "too_large", f"The body may have {_MOST} bytes.")
        asked = _asked(body)
        source = asked.get("lora_path")
        if isinstance(source, str) and "://" in source:
            try:
                folder = await asyncio.to_thread(self._fetch, source)
            except SourceError as error:
                status = 502 if isinstance(error, _PASSING) else 422
                return await self._refuse(send, status, "adapter_not_fetched", str(error))
            body = json.dumps({**asked, "lora_path": str(folder)}).encode()
        return await self._app(_with_length(scope, len(body)), _once(body, receive), send)


async def _body(receive: Receive) -> bytes | None:
    """All of a request's body; None if it is too long."""
    body = b""
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > _MOST:
            return None
        if not message.get("more_body"):
            return body


def _asked(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body)
    except ValueError:
        return {}  # vLLM says what is wrong with it.
    return asked if isinstance(asked, dict) else {}


def _with_length(scope: Scope, length: int) -> Scope:
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}


def _once(body: bytes, receive: Receive) -> Receive:
    """Hand the body out, then what comes after it."""
    handed = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal handed
        if handed:
            return await receive()
        handed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
