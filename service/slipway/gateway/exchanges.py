"""One request and what becomes of it: what serving fills in, and metrics, log, usage and traces read."""

from dataclasses import dataclass, field

from slipway.gateway.auth import Key
from slipway.gateway.catalog import Model
from slipway.gateway.errors import Headers
from slipway.gateway.limits import Reservation
from slipway.gateway.metrics import UNKNOWN
from slipway.gateway.relay.sse import Usage
from slipway.gateway.requests import Head
from slipway.gateway.routes import Route
from slipway.gateway.sampled import Sampled
from slipway.gateway.sinks import Sink
from slipway.objects import Priority

CLIENT_LEFT = 499
"""Status in logs and metrics for a client that left; nobody is there to receive it."""


@dataclass(slots=True)
class Exchange:
    """One request. Times are seconds of the serving's clock; 0.0 where that point was not reached."""

    route: Route
    head: Head
    sink: Sink
    started: float
    key: Key | None = None
    model: str = UNKNOWN
    """The name that was asked for, once it is known to exist."""
    served: Model | None = None
    """Whose engine was asked in the end."""
    version: str = ""
    """Of an adapter with several: what engines call the one that was asked."""
    session: str | None = None
    """What keeps it on a revision, where there are several."""
    priority: Priority = "normal"
    batch: str | None = None
    """The batch that it belongs to."""
    member_of: str = ""
    """The ensemble for which this model is asked, beside others."""
    by_members: bool = False
    """An ensemble's members are asked for it, each in an exchange of its own."""
    stream: bool = False
    status: int = 500
    error: str = ""
    address: str = ""
    attempts: int = 0
    events: int = 0
    """Events of a stream that have passed by."""
    usage: Usage | None = None
    cost: int = 0
    """Nano-dollars."""
    estimated: bool = False
    """Nobody has counted the tokens: the estimate stands."""
    reservation: Reservation | None = None
    reserved_prompt: int = 0
    reserved_completion: int = 0
    begun: bool = False
    """The answer's head went to the client."""
    closed: bool = False
    """Accounts are settled; nothing of it changes any more."""
    salt: str | None = None
    """Parts the engines' prefix caches, where that is asked for."""
    constraint: str | None = None
    """The request's field that may allow no answer at all."""
    entry: int = 0
    """Its number in the usage journal, once an engine is about to be asked."""
    headers: Headers = field(default_factory=list)
    """Headers of the answer beside the API's own."""

    authenticated: float = 0.0
    limited: float = 0.0
    """Limits have let it through."""
    relayed: float = 0.0
    """It was handed to the relay."""
    sent: float = 0.0
    """An endpoint was free for it, the last one that was tried."""
    answered: float = 0.0
    """The engine's answer has begun."""
    first_byte: float | None = None
    """When the first byte of a stream's body went to the client."""
    ended: float = 0.0

    sampled: Sampled | None = None
    """It is traced."""

    @property
    def request_id(self) -> str:
        """The id that the client sees."""
        return self.head.request_id.decode()
