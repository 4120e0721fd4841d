"""Finds endpoints that hang: a process that was stopped accepts connections and answers nothing.

Silence alone is legal, since a whole answer may take minutes to make. So an endpoint that has work and gave
no sign for a while is asked GET /health over a connection of its own. One that does not answer is ejected
until it does, and what it has not begun to answer goes elsewhere; with nowhere to go, after a second
question without an answer, it is told that the engine hangs.

vLLM answers /health in its API server, whatever its workers do. So an engine that is silent for long and
lives is asked for its token counts too: if they stand still all the while, it hangs behind its server, and
what can go elsewhere does. What cannot is left to the time limits: a slow engine may be at its first token.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from slipway.gateway.relay.relay import Relay

_TOKENS = re.compile(
    rb"^(?:vllm:|slipway_engine_)(?:prompt|generation)_tokens_total(?:\{[^}]*\})? (\S+)", re.MULTILINE
)
_LONGEST = 4_194_304
"""Bytes of an engine's metrics that are read."""


@dataclass(frozen=True, slots=True)
class WatchLimits:
    """Times of the watch, in seconds."""

    stall: float
    """Silence after which an endpoint that has work is asked, and asked again."""
    patience: float
    """That it may take to answer."""
    hang: float
    """Silence in which its token counts must have moved."""


@dataclass(slots=True)
class Watch:
    """Watches the endpoints of one gateway."""

    relay: Relay
    limits: WatchLimits
    clock: Callable[[], float]
    on_probe: Callable[[str], None] = lambda outcome: None
    """Told each question's outcome: `alive`, `silent`, or `stuck` for one that hangs behind its server."""
    on_stall: Callable[[str, str], None] = lambda address, outcome: None
    """Told once of each endpoint that hangs, and how."""
    _asking: "dict[str, asyncio.Task[None]]" = field(default_factory=dict)

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            while True:
                await asyncio.sleep(self.limits.stall / 4)
                for address in self.relay.balancer.silent(self.limits.stall):
                    if address not in self._asking:
                        self._ask(address)
        finally:
            for task in self._asking.values():
                task.cancel()

    def _ask(self, address: str) -> None:
        task = asyncio.create_task(self._inquire(address))
        self._asking[address] = task
        task.add_done_callback(lambda _: self._asking.pop(address, None))

    async def _inquire(self, address: str) -> None:
        """Ask one endpoint again and again, until it gives a sign or has nothing to do and lives."""
        limits, balancer = self.limits, self.relay.balancer
        hold = 2 * (limits.stall + limits.patience)
        counted: float | None = None
        since = self.clock()
        told = False
        while balancer.silence(address) >= limits.stall or balancer.hangs(address):
            outcome = "alive"
            if not await get(address, "/health", limits.patience):
                outcome = "silent"
                misses = balancer.missed(address)
                if not misses:
                    return  # It is no endpoint any more.
                self.relay.stalled(address, surely=misses > 1)
                balancer.hold(address, hold)
            else:
                balancer.lives(address)
                count = tokens(await get(address, "/metrics", limits.patience, most=_LONGEST))
                if count is None or count != counted:
                    counted, since = count, self.clock()
                elif min(balancer.silence(address), self.clock() - since) >= limits.hang:
                    outcome = "stuck"
                    self.relay.stalled(address, surely=False)
                    balancer.hold(address, hold)
            self.on_probe(outcome)
            if outcome != "alive" and not told:
                told = True
                self.on_stall(address, outcome)
            await asyncio.sleep(limits.stall)


def tokens(metrics: bytes) -> float | None:
    """Tokens that an engine has read and made, from its metrics; None if they do not say."""
    try:
        found = [float(value) for value in _TOKENS.findall(metrics)]
    except ValueError:
        return None
    return sum(found) if found else None


async def get(address: str, path: str, seconds: float, most: int = 1) -> bytes:
    """What `host:port` answers to a GET in time, head and body, up to `most` bytes or a few more."""
    host, _, port = address.rpartition(":")
    writer: asyncio.StreamWriter | None = None
    answer = b""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            request = f"GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
            writer.write(request.encode())
            while len(answer) < most and (part := await reader.read(65_536)):
                answer += part
    except OSError:  # TimeoutError is one.
        pass
    finally:
        if writer is not None:
            writer.transport.abort()
    return answer
