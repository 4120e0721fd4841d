"""One question to a process's health route."""

import asyncio
import time
from collections.abc import Awaitable, Callable
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
            return await _status(host, port, path, key)
    except (OSError, TimeoutError, ValueError):
        return None


async def _status(host: str, port: int, path: str, key: str | None) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", "Connection: close"]
        if key is not None:
            lines.append(f"Authorization: Bearer {key}")
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await writer.drain()
        first = (await reader.readline()).split()
        return int(first[1]) if len(first) > 1 else 0
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
