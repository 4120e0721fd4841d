"""The usual way to write a relay: a raw ASGI application under uvicorn, aiohttp towards the engine.

    python loadtests/peers/relay.py PORT UPSTREAM_PORT KEY

It checks a key and passes bytes on; it has no limits, counts nothing, logs nothing. How many requests a
second it makes is the measure of a core: machines differ, and one machine differs from day to day.
"""

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
import uvicorn

Message = MutableMapping[str, Any]


class Relay:
    """The application."""

    def __init__(self, upstream: str, key: str) -> None:
        self._upstream = upstream
        self._key = f"Bearer {key}".encode()
        self._session: aiohttp.ClientSession | None = None

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        if (b"authorization", self._key) not in scope["headers"]:
            await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {"content-type": "application/json"}
        async with self._session.post(self._upstream + scope["path"], data=body, headers=headers) as answer:
            passed = [
                (name.lower().encode(), value.encode())
                for name, value in answer.headers.items()
                if name.lower() in ("content-type", "content-length")
            ]
            await send({"type": "http.response.start", "status": answer.status, "headers": passed})
            async for part in answer.content.iter_any():
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def main() -> None:
    port, upstream, key = int(sys.argv[1]), f"http://127.0.0.1:{sys.argv[2]}", sys.argv[3]
    uvicorn.run(
        Relay(upstream, key),
        port=port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
        backlog=4096,
    )


if __name__ == "__main__":
    main()
