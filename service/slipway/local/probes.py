"""One question to a process: whether it is healthy, and what the gateway knows."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any
from urllib.parse import urlsplit

Probe = Callable[[str, int, str, str | None, float], Awaitable[bool]]
"""(host, port, path, key, timeout in seconds) -> whether it answered 200 in time."""


async def answers(host: str, port: int, path: str, key: str | None, timeout: float) -> bool:
    """Whether `GET path` answers 200 within `timeout` seconds; `key` goes as a bearer token."""
    return await status(host, port, path, key, timeout) == 200


async def status(host: str, port: int, path: str, key: str | None, timeout: float) -> int | None:
    """The status of `GET path`, or None if none came within `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            return (await _ask(host, port, path, key))[0]
    except (OSError, TimeoutError, ValueError):
        return None


async def _ask(host: str, port: int, path: str, key: str | None, *, whole: bool = False) -> tuple[int, bytes]:
    """The status of `GET path`, and with `whole` its body."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", "Connection: close"]
        if key is not None:
            lines.append(f"Authorization: Bearer {key}")
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await writer.drain()
        first = (await reader.readline()).split()
        answer = await reader.read() if whole else b""
        return int(first[1]) if len(first) > 1 else 0, answer.partition(b"\r\n\r\n")[2]
    finally:
        writer.close()


async def key_settled(gateway: str, key: str, *, accepted: bool, patience: float = 5) -> bool:
    """Wait until the gateway lets `key` in (or out), for at most `patience` seconds; whether it came so.

    A gateway takes up changed objects a moment after they were written.
    """
    parts = urlsplit(gateway)
    until = time.monotonic() + patience
    while True:
        answer = await status(parts.hostname or "", parts.port or 80, "/v1/models", key, 2)
        if answer is not None and (answer != 401) == accepted:
            return True
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.05)


async def models_settled(gateway: str, models: Collection[str], patience: float = 30) -> dict[str, str]:
    """Wait until the gateway itself says that `models` are ready; those it does not, each with its reason.

    It takes up changed endpoints a moment after they were written. At most `patience` seconds.
    """
    parts = urlsplit(gateway)
    until = time.monotonic() + patience
    while True:
        said = await _readiness(parts.hostname or "", parts.port or 80)
        late = {
            name: str(said[name]["reason"]) if name in said else "the gateway does not know it yet"
            for name in models
            if not said.get(name, {}).get("ready")
        }
        if not late or time.monotonic() > until:
            return late
        await asyncio.sleep(0.05)


async def _readiness(host: str, port: int) -> dict[str, Any]:
    """What the gateway says of each model by its name; nothing where it does not answer."""
    try:
        async with asyncio.timeout(2):
            _, body = await _ask(host, port, "/readyz", None, whole=True)
        return {each["name"]: each for each in json.loads(body)["models"]}
    except (OSError, TimeoutError, ValueError, KeyError, TypeError):
        return {}
