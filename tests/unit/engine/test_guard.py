"""The engine's own door."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from slipway.engine.draining import Drain
from slipway.engine.guard import KEYED, EngineGuard

Message = MutableMapping[str, Any]


class Asked:
    """An application that remembers which paths reached it, and can be held back."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        self.asked.set()
        await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


async def ask(guard: EngineGuard, method: str, path: str, *keys: str) -> int:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    headers = [(b"authorization", key.encode()) for key in keys]
    await guard({"type": "http", "method": method, "path": path, "headers": headers}, receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    "path",
    [
        "/invocations",
        "/pause",
        "/pooling",
        "/v1/responses",
        "/v1/messages",
        "/v1/score",
        "/version",
        "/docs",
        "/v1/models/",
    ],
)
async def test_routes_off_the_list_do_not_exist_even_with_the_key(path: str) -> None:
    app = Asked()
    guard = EngineGuard(app, "key")
    assert await ask(guard, "POST", path, "Bearer key") == 404
    assert await ask(guard, "GET", path, "Bearer key") == 404
    assert app.paths == []


@pytest.mark.parametrize(("method", "path"), sorted(KEYED))
async def test_every_listed_route_asks_for_the_key(method: str, path: str) -> None:
    app = Asked()
    guard = EngineGuard(app, "key")
    assert await ask(guard, method, path) == 401
    assert await ask(guard, method, path, "Bearer kez") == 401
    assert await ask(guard, method, path, "key") == 401
    assert await ask(guard, method, path, "Bearer other", "Bearer key") == 401
    assert app.paths == []
    assert await ask(guard, method, path, "Bearer key") == 200


async def test_health_and_metrics_are_open_to_those_without_a_key() -> None:
    guard = EngineGuard(Asked(), "key")
    assert await ask(guard, "GET", "/health") == 200
    assert await ask(guard, "GET", "/metrics") == 200


async def test_a_drain_refuses_what_is_new_and_stops_when_the_last_one_is_done() -> None:
    app = Asked()
    stopped = asyncio.Event()
    drain = Drain(60, stop=stopped.set)
    guard = EngineGuard(app, "key", drain)
    app.go_on.clear()
    running = asyncio.create_task(ask(guard, "POST", "/v1/completions", "Bearer key"))
    await app.asked.wait()

    drain.begin()
    assert await ask(guard, "POST", "/v1/completions", "Bearer key") == 503
    assert await ask(guard, "GET", "/health") == 503
    assert await ask(guard, "POST", "/v1/completions") == 401
    assert not stopped.is_set()

    app.go_on.set()
    assert await running == 200
    await drain.wait()
    assert stopped.is_set()


async def test_a_drain_ends_in_spite_of_a_request_that_does_not() -> None:
    app = Asked()
    app.go_on.clear()
    stopped = asyncio.Event()
    drain = Drain(0.01, stop=stopped.set)
    guard = EngineGuard(app, "key", drain)
    running = asyncio.create_task(ask(guard, "POST", "/v1/completions", "Bearer key"))
    await app.asked.wait()
    drain.begin()
    await drain.wait()
    assert stopped.is_set()
    app.go_on.set()
    await running
