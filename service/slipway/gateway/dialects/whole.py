"""Reads the usage from answers that do not end with it."""

from collections.abc import Callable

import orjson

from slipway.gateway.relay.sse import Usage, usage_of

LONGEST = 33_554_432
"""Bytes of an answer that are kept to be read; of a longer one nobody knows the usage."""


class WholeAnswer:
    """Keeps a JSON answer until it is complete, and reads its `usage`."""

    def __init__(self, read: Callable[[object], Usage | None] = usage_of) -> None:
        self._read = read
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        """See UsageFinder.feed."""
        self._size += len(data)
        if self._size <= LONGEST:
            self._parts.append(data)

    def find(self) -> Usage | None:
        """See UsageFinder.find."""
        if self._size > LONGEST:
            return None
        try:
            document = orjson.loads(b"".join(self._parts))
        except orjson.JSONDecodeError:
            return None
        return self._read(document.get("usage")) if isinstance(document, dict) else None
