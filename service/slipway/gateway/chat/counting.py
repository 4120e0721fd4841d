"""The tokens of a prompt, as /tokenize counts them, in the words of the API that asked."""

from typing import Any

import orjson


class TokenCount:
    """The answer to a counting of tokens; see `translating.Translation`."""

    def __init__(self, **fixed: str) -> None:
        """`fixed` goes into the answer as it is."""
        self._fixed = fixed

    def start(self) -> bytes:
        """Never streamed."""
        return b""

    def chunk(self, payload: dict[str, Any]) -> bytes:
        """Never streamed."""
        return b""

    async def finish(self) -> bytes:
        """Never streamed."""
        return b""

    async def failed(self, code: str, message: str) -> bytes:
        """Never streamed."""
        return b""

    async def whole(self, payload: dict[str, Any]) -> bytes:
        """See Translation."""
        return orjson.dumps({**self._fixed, "input_tokens": payload["count"]})
