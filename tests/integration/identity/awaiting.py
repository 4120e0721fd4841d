"""What tests of identity await: answers of gateways, and what those answers must come to."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(
    condition: Callable[[], Awaitable[object]], what: str = "a change that becomes known", seconds: float = 60
) -> None:
    """Ask until `condition` is true, for changes that become known within a second or so."""
    try:
        async with asyncio.timeout(seconds):
            while not await condition():  # noqa: ASYNC110 - what is awaited is in other processes
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"waited in vain: {what}, not within {seconds:g} s") from None
