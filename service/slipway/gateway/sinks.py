"""Where an answer goes: to a client over HTTP, or to a part of the gateway that asks for somebody."""

from collections.abc import Callable
from typing import Protocol

from slipway.gateway.errors import Headers
from slipway.gateway.requests import Send


class Sink(Protocol):
    """Takes one answer: `begin` once, then `write` until `more` is False; or `cut` at any time."""

    async def begin(self, status: int, headers: Headers) -> None:
        """The answer's status and headers."""
        ...

    async def write(self, data: bytes, *, more: bool) -> None:
        """The next bytes of the body; streamed events come whole, one or several at once."""
        ...

    def cut(self) -> None:
        """End without completing the answer, so that its reader sees that it is incomplete."""
        ...

    def on_leave(self, call: Callable[[], None] | None) -> None:
        """Have `call` called at once when nobody wants the answer any more; None: nothing any more."""
        ...


class Outlet(Protocol):
    """One answer on its way to a client."""

    @property
    def paused(self) -> bool:
        """Whether the client takes its answer too slowly for more."""
        ...

    async def drain(self) -> None:
        """Wait until the client has taken enough, or is gone."""
        ...

    def write(self, body: bytes, *, more: bool) -> None:
        """Write more of the answer's body."""
        ...

    def whole_body(self) -> bytes | None:
        """The request's body, where all of it has come and none was read; None where it has to be awaited."""
        ...


class Client(Protocol):
    """The client's connection, as far as the server below ASGI shows it."""

    @property
    def body_complete(self) -> bool:
        """Whether the whole request body has arrived."""
        ...

    @property
    def turn(self) -> Outlet:
        """The request that is being answered."""
        ...

    def on_leave(self, call: Callable[[], None] | None) -> None:
        """Have `call` called at once when the client leaves; None: nothing any more."""
        ...

    def cut(self) -> None:
        """Close the connection without ending the answer, so that the client sees it is incomplete."""
        ...


class ClientSink:
    """An answer to a client over HTTP. Its head goes by ASGI, past middleware; its body straight on."""

    __slots__ = ("_send", "_turn", "cut", "on_leave")

    def __init__(self, client: Client, send: Send) -> None:
        self._turn = client.turn
        self._send = send
        self.cut = client.cut
        self.on_leave = client.on_leave

    async def begin(self, status: int, headers: Headers) -> None:
        """See Sink.begin."""
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes, *, more: bool) -> None:
        """See Sink.write."""
        if self._turn.paused:
            await self._turn.drain()
        self._turn.write(data, more=more)

    def put(self, data: bytes) -> bool:
        """Write at once; False if the next bytes are for `write`, which waits until the client takes more."""
        self._turn.write(data, more=True)
        return not self._turn.paused


class CollectingSink:
    """Keeps an answer for a part of the gateway that asked."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.body = b""
        self.cut_off = False
        """The answer is not complete."""
        self.left = False
        """Nobody wants the answer any more."""
        self._leave: Callable[[], None] | None = None

    async def begin(self, status: int, headers: Headers) -> None:
        """See Sink.begin."""
        self.status, self.headers = status, headers

    async def write(self, data: bytes, *, more: bool) -> None:
        """See Sink.write."""
        self.body += data

    def cut(self) -> None:
        """See Sink.cut."""
        self.cut_off = True

    def on_leave(self, call: Callable[[], None] | None) -> None:
        """See Sink.on_leave."""
        self._leave = call
        if self.left and call is not None:
            call()

    def leave(self) -> None:
        """Give the answer up: the engine's work for it ends."""
        self.left = True
        if self._leave is not None:
            self._leave()

    def header(self, name: bytes) -> bytes | None:
        """The first header called `name` (lower case)."""
        return next((value for key, value in self.headers if key == name), None)
