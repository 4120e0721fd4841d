"""How an API words what all of them share: errors, the end of a stream, the tokens used.

`OPENAI` serves completions, chat, embeddings and the scoring routes; other APIs bring a Dialect of their own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from slipway.gateway.errors import APIError, Headers
from slipway.gateway.relay.sse import EventStream, Usage, UsageTail


class StreamReader(Protocol):
    """Follows one stream of events on its way through."""

    done: bool
    """The stream's last event has come: it is complete."""
    failed: bool
    """The engine has reported an error inside the stream."""
    error: object
    """What it said."""
    usage: Usage | None
    """What the engine has counted so far."""

    def feed(self, data: bytes) -> bytes:
        """Take what came from the engine; returns what the client gets of it now, whole events only."""
        ...


class UsageFinder(Protocol):
    """Finds the usage in an answer that is not streamed."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the answer."""
        ...

    def find(self) -> Usage | None:
        """The usage, once all has been fed."""
        ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """What sets one API apart from another in the eyes of the relay."""

    error: Callable[[APIError], bytes]
    """The body of an error answer."""
    error_event: Callable[[APIError], bytes]
    """The event that tells a stream's client that it is cut short."""
    reader: Callable[[bool], StreamReader]
    """Follows a stream; True: the event that holds nothing but usage is kept back, nobody asked for it."""
    finder: Callable[[], UsageFinder]
    """Finds the usage of an answer that is not streamed."""
    headers: Callable[[bytes], Headers] = lambda request_id: []
    """Headers that its clients look for beside `x-request-id`."""
    usage_on_request: bool = False
    """Streams report usage only if `stream_options.include_usage` asks for it."""


def _error_event(error: APIError) -> bytes:
    return b"data: " + error.body() + b"\n\n"


OPENAI = Dialect(
    error=APIError.body,
    error_event=_error_event,
    reader=lambda strip_usage: EventStream(strip_usage=strip_usage),
    finder=UsageTail,
    usage_on_request=True,
)
