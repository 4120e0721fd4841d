"""Finds endpoints that hang: a process that was stopped accepts connections and answers nothing.

Silence alone is legal, since a whole answer may take minutes to make. So an endpoint that has work and gave
no sign for a while is asked GET /health over a connection of its own; one that does not answer that either
is ejected, and requests that it has not begun to answer go elsewhere. vLLM answers /health in its API
server: a worker behind it that hangs alone is not seen here, only by the time limits.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from slipway.gateway.relay.relay import Relay


@dataclass(slots=True)
class Watch:
    """Watches the endpoints of one gateway."""

    relay: Relay
    stall: float
    """Seconds of silence after which an endpoint is asked."""
    patience: float
    """Seconds that it may take to answer."""
    on_stall: Callable[[str], None] = lambda address: None
    _probes: "set[asyncio.Task[None]]" = field(default_factory=set)

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            while True:
                await asyncio.sleep(self.stall / 4)
                for address in self.relay.balancer.silent(self.stall):
                    task = asyncio.create_task(self._probe(address))
                    self._probes.add(task)
                    task.add_done_callback(self._probes.discard)
        finally:
            for task in self._probes:
                task.cancel()

    async def _probe(self, address: str) -> None:
        if not await answers(address, self.patience):
            self.on_stall(address)
            self.relay.stalled(address)


async def answers(address: str, seconds: float) -> bool:
    """Whether anything at all answers GET /health at `host:port` in time."""
    host, _, port = address.rpartition(":")
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.write(b"GET /health HTTP/1.1\r\nhost: %b\r\nconnection: close\r\n\r\n" % address.encode())
            return (await reader.read(5)) == b"HTTP/"
    except OSError:  # TimeoutError is one.
        return False
    finally:
        if writer is not None:
            writer.transport.abort()
