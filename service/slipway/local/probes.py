"""One question to a process's health route."""

import asyncio
from collections.abc import Awaitable, Callable

Probe = Callable[[str, int, str, str | None, float], Awaitable[bool]]
"""(host, port, path, key, timeout in seconds) -> whether it answered 200 in time."""


async def answers(host: str, port: int, path: str, key: str | None, timeout: float) -> bool:
    """Whether `GET path` answers 200 within `timeout` seconds; `key` goes as a bearer token."""
    try:
        async with asyncio.timeout(timeout):
            return await _status(host, port, path, key) == 200
    except (OSError, TimeoutError, ValueError):
        return False


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
