"""Lines out of an answer that arrives in pieces of any size."""

from collections.abc import AsyncIterator

from slipway.kube.errors import BadAnswerError, UnreachableError


async def lines(pieces: AsyncIterator[bytes], longest: int) -> AsyncIterator[bytes]:
    """The lines that end in a newline, without it; empty ones are left out.

    Raises BadAnswerError where a line is longer than `longest` bytes, and UnreachableError where the answer
    ends within one.
    """
    pending = bytearray()
    async for piece in pieces:
        *whole, rest = piece.split(b"\n")
        for part in whole:
            pending += part
            if len(pending) > longest:
                break
            if pending:
                yield bytes(pending)
            pending.clear()
        else:
            pending += rest
        if len(pending) > longest:
            raise BadAnswerError(f"a line of the answer is longer than {longest} bytes")
    if pending:
        raise UnreachableError("the answer was cut off within a line")
