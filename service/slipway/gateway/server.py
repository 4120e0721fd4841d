"""Runs a gateway under uvicorn: the listening socket, SIGTERM, the drain."""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import time
from collections.abc import Generator
from types import FrameType

import uvicorn

from slipway.gateway.connections import protocol_class
from slipway.gateway.lifespan import Gateway
from slipway.gateway.logs import StandardLogging
from slipway.gateway.settings import GatewaySettings


class PortTakenError(Exception):
    """The address cannot be listened at; the message says what to do."""


def listen(settings: GatewaySettings) -> socket.socket:
    """The listening socket. Raises PortTakenError with the mend."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Accepted connections inherit these: a peer that vanished is noticed after about two minutes.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
                if hasattr(socket, option):
                    listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.bind(address)
            # Who connects while the gateway still finds its feet waits, and is not refused.
            listener.listen(settings.backlog)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        reason = (error.strerror or str(error)).lower()
        raise PortTakenError(
            f"Cannot listen at {where}: {reason}. Stop what uses it, or choose another with --port or --host."
        ) from error
    listener.setblocking(False)
    return listener


class Server(uvicorn.Server):
    """uvicorn's server with a drain: SIGTERM turns /readyz first, then stops listening, and exits with 0."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._stop_at: float | None = None
        self._signalled = asyncio.Event()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM and SIGINT; a second SIGINT does not wait for running answers."""
        self._signalled.set()  # The loop's own thread runs this, between two callbacks.
        if self._gateway.draining and sig == signal.SIGINT:
            self.should_exit = self.force_exit = True
            return
        self._gateway.draining = True
        delay = self._gateway.settings.drain_delay
        if delay and sig == signal.SIGTERM:
            self._stop_at = time.monotonic() + delay
        else:
            self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's; says where it listens as soon as clients can connect."""
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            where = f"listening at http://{shown}:{port}"
            self._gateway.log.write("info", "listening", where, host=host, port=port)

    async def main_loop(self) -> None:
        """As uvicorn's, with one tick a second in place of ten: a signal ends the wait."""
        while not await self.on_tick(0):
            left = 1.0 if self._stop_at is None else self._stop_at - time.monotonic()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._signalled.wait(), min(1.0, max(0.0, left)))
            self._signalled.clear()

    async def on_tick(self, counter: int) -> bool:
        """Called once a second and after a signal; `counter` 0 renews the answers' date."""
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            self.should_exit = True
        self._gateway.metrics.connections.set(len(self.server_state.connections))
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """As uvicorn's, but the signal is not raised again afterwards: a drained gateway exits with 0."""
        signals = (signal.SIGTERM, signal.SIGINT)
        before = {each: signal.signal(each, self.handle_exit) for each in signals}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def raise_file_limit(wanted: int) -> None:
    """Let the process have a socket for each client and engine connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def serve(gateway: Gateway, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    settings = gateway.settings
    root = logging.getLogger()
    root.handlers = [StandardLogging(gateway.log)]
    root.setLevel(logging.WARNING)
    raise_file_limit(2 * settings.max_connections + 1024)
    config = uvicorn.Config(
        gateway.app,  # type: ignore[arg-type]
        http=protocol_class(settings),
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=settings.backlog,
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=settings.drain_timeout,
    )
    # What was made at start stays; collecting it again and again would show in the slowest answers.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    Server(config, gateway).run(sockets=[listener])
    gateway.log.write("info", "stopped", "all answers are finished")
