"""The engine's own door: an allow-list of routes, and a key that only gateway and operator hold.

vLLM's `--api-key` leaves routes such as `/invocations` and `/pause` open, and `/tokenize` too; here all
are closed but the ones listed.
"""

import asyncio
import hmac
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from slipway.engine.adapters import AdapterSources
from slipway.engine.draining import Drain

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

DRAIN_SECONDS = "SLIPWAY_ENGINE_DRAIN_S"

HEALTH = ("GET", "/health")
OPEN = frozenset({HEALTH, ("GET", "/metrics")})
"""Asked by kubelet and Prometheus, which hold no key; they tell no content of any request."""

# What the gateway asks engines, and no more: it translates /v1/responses and /v1/messages to chats itself,
# and /v1/score to /score.
KEYED = frozenset(
    {
        ("GET", "/v1/models"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
        ("POST", "/classify"),
        ("POST", "/score"),
        ("POST", "/rerank"),
        ("POST", "/tokenize"),
        ("POST", "/detokenize"),
        ("POST", "/v1/load_lora_adapter"),
        ("POST", "/v1/unload_lora_adapter"),
    }
)


class EngineGuard:
    """ASGI middleware that lets through what the gateway may ask for; every other route does not exist."""

    def __init__(self, app: App, key: str | None = None, drain: Drain | None = None) -> None:
        """Guard `app` with `key`, by default `$SLIPWAY_ENGINE_KEY`; without a key none is asked for."""
        self._app = AdapterSources(app, _refuse)
        key = os.environ.get("SLIPWAY_ENGINE_KEY") if key is None else key
        self._expected = f"Bearer {key}".encode() if key else None
        self._drain = drain or Drain(float(os.environ.get(DRAIN_SECONDS, "30")))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, self._arm_when_started(send))
        if scope["type"] != "http":
            return None  # No websocket is served; uvicorn refuses the handshake.
        route = (scope["method"], scope["path"])
        if route == HEALTH and self._drain.begun:
            return await _refuse(send, 503, "draining", "This engine is shutting down.")
        if route in OPEN:
            return await self._app(scope, receive, send)
        if route not in KEYED:
            return await _refuse(send, 404, "not_found", "This engine serves no such route.")
        if self._expected is not None and not self._holds_key(scope):
            return await _refuse(send, 401, "invalid_api_key", "This engine answers its gateway only.")
        if self._drain.begun:
            return await _refuse(send, 503, "draining", "This engine is shutting down.")
        with self._drain:
            return await self._app(scope, receive, send)

    def _arm_when_started(self, send: Send) -> Send:
        async def arm(message: MutableMapping[str, Any]) -> None:
            # Not before: vLLM binds its own handlers while it starts.
            if message["type"] == "lifespan.startup.complete":
                self._drain.arm(asyncio.get_running_loop())
            await send(message)

        return arm

    def _holds_key(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._expected or b"")


async def _refuse(send: Send, status: int, code: str, message: str) -> None:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
