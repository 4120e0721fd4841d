"""What async tests await of other processes, without holding up the engines that they play themselves."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any


async def until(
    condition: Callable[[], Any], what: str = "a change that becomes known", seconds: float = 60
) -> Any:
    """Ask until `condition`, plain or asynchronous, is true; its first true value."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                value = condition()
                if inspect.isawaitable(value):
                    value = await value
                if value:
                    return value
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited in vain: {what}, not within {seconds:g} s") from None
