"""The ASGI application: relayed routes by a dictionary, everything else by FastAPI behind it.

One path, the scope's own, decides on both key and route; the Host header plays no part anywhere.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol

from slipway.gateway.connections import EXTENSION
from slipway.gateway.errors import JSON, internal_error
from slipway.gateway.requests import HEAD, Receive, Scope, Send, read_head
from slipway.gateway.routes import Route
from slipway.gateway.serving import Serving

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class Lifespan(Protocol):
    """What starts and ends with the server."""

    async def start(self) -> None:
        """Runs before the first connection is accepted."""
        ...

    async def stop(self) -> None:
        """Runs after the last answer."""
        ...


class FrontDoor:
    """Sends each request to where it is answered; every answer gets its x-request-id."""

    def __init__(
        self, routes: Mapping[str, Route], serving: Serving, rest: ASGIApp, lifespan: Lifespan
    ) -> None:
        self._routes = routes
        self._serving = serving
        self._rest = rest
        self._lifespan = lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            head = read_head(scope["headers"])
            route = self._routes.get(scope["path"])
            if route is not None and scope["method"] == "POST":
                await self._serving(route, head, scope["extensions"][EXTENSION], scope, receive, send)
            else:
                scope[HEAD] = head
                await self._other(head.request_id, scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def _other(self, request_id: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0
        started = self._serving.clock()

        async def send_with_id(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        log = self._serving.log
        try:
            await self._rest(scope, receive, send_with_id)
        except Exception as error:
            log.write("error", "failed", f"{type(error).__name__}: {error}", request_id=request_id.decode())
            if not status:
                await self._send_fault(send_with_id)
        if scope["path"].startswith("/v1/"):
            log.request(
                {
                    "request_id": request_id.decode(),
                    "route": scope["path"][:128],
                    "status": status,
                    "seconds": round(self._serving.clock() - started, 6),
                }
            )

    @staticmethod
    async def _send_fault(send: Send) -> None:
        body = internal_error().body()
        headers = [JSON, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 500, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._lifespan.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self._lifespan.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return
