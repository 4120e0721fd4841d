"""The floor: what a relay costs in Python when nothing is between it and the event loop.

    python loadtests/peers/by_hand.py PORT UPSTREAM_PORT KEY

An asyncio.Protocol on both sides under uvloop. It looks for the key in the request and hands bytes over as
they come, with a connection to the engine for each client's. It reads no HTTP beyond that: it is no gateway.
"""

import asyncio
import sys

import uvloop


class Engine(asyncio.Protocol):
    """The connection to the engine of one client."""

    def __init__(self, client: "Client") -> None:
        self.client = client
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.client.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.client.transport.close()


class Client(asyncio.Protocol):
    """One client."""

    transport: asyncio.Transport

    def __init__(self, upstream: int, key: bytes) -> None:
        self._upstream = upstream
        self._key = key
        self._engine: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._waiting = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self._key not in data:
            self.transport.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
        elif self._engine is not None:
            self._engine.write(data)
        else:
            self._waiting += data
            if self._connecting is None:
                self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def connection_lost(self, exc: Exception | None) -> None:
        if self._engine is not None:
            self._engine.close()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: Engine(self), "127.0.0.1", self._upstream)
        self._engine = transport
        transport.write(self._waiting)
        self._waiting = b""


async def serve(port: int, upstream: int, key: bytes) -> None:
    """Serve for ever."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Client(upstream, key), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2]), b"Bearer " + sys.argv[3].encode()))
