"""One client's request on its way to an engine."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from slipway.gateway.relay.queues import CLASSES
from slipway.gateway.relay.transport import Connection

LOW = CLASSES.index("low")


def _never() -> bool:
    return False


@dataclass(slots=True)
class Call:
    """One client's request, and the handle by which its leaving reaches the engine."""

    service: str
    """Whose endpoints may answer; requests for the same service share a queue."""
    ready: Callable[[], tuple[str, ...]]
    """The ready endpoints as of now, asked anew before each attempt."""
    head: Callable[[str, int], bytes]
    """Makes the request's head for an address and a body length."""
    body: bytes
    key: str = ""
    """Whose turn it uses up when the endpoints are full."""
    priority: int = CLASSES.index("normal")
    """Index into CLASSES."""
    constraint: str | None = None
    """The request's field that may allow no answer at all."""
    gone: bool = False
    stalled: bool = False
    """Its endpoint hangs; it was taken away from it."""
    attempts: int = 0
    tried: set[str] = field(default_factory=set)
    """Endpoints that it was sent to."""
    apart: bool = False
    """It prefers other endpoints than its service's other calls."""
    may_start: Callable[[], bool] = _never
    """Whether an endpoint may come up, so that it waits although none is ready."""
    patience: float = 0.0
    """Seconds that it waits for that."""
    pick: int = 0
    """Number of the pick that gave it its endpoint."""
    connection: Connection | None = None
    waiter: "asyncio.Future[str | None] | None" = None

    def leave(self) -> None:
        """The client is gone: stop waiting, close the engine's connection at once."""
        self.gone = True
        if self.connection is not None:
            self.connection.abort()
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def untried(self) -> bool:
        """Whether an endpoint is ready that it was not sent to."""
        return any(address not in self.tried for address in self.ready())
