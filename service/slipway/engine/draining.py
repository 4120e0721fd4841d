"""The end of an engine: refuse what is new, finish what runs, then let vLLM stop.

vLLM itself goes on taking requests while it shuts down, and was seen to wait for ever for one that its
stopped core never answered. So signals are answered here, and vLLM's own shutdown begins when nothing runs
any more.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from slipway.engine import reports

SHUTDOWN_S = 15.0
"""How long vLLM's own shutdown may take, in seconds, before the process ends without it."""

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class SignalCallbacks:
    """Mixed into an event loop: remembers what was last bound to each signal, to call it later."""

    def __init__(self) -> None:
        super().__init__()
        self.callbacks: dict[int, Callable[[], object]] = {}
        self.drain_begun = False

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:
        self.callbacks[sig] = lambda: callback(*args)
        super().add_signal_handler(sig, callback, *args)  # type: ignore[misc]


class Drain:
    """Counts the requests that run, and ends the process when it is told to and they are done."""

    def __init__(self, timeout: float, *, stop: Callable[[], object] = lambda: None) -> None:
        """Give running requests `timeout` seconds; `stop` is called when they are done or it is over."""
        self._timeout = timeout
        self._stop = stop
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    @property
    def begun(self) -> bool:
        """Whether new requests are to be refused."""
        return self._task is not None

    def arm(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer signals from now on, and call what vLLM had bound to them when the drain is over."""
        if isinstance(loop, SignalCallbacks):
            stop = loop.callbacks.get(signal.SIGTERM, self._stop)
            self._stop = lambda: _stop_vllm(stop)
        for signum in SIGNALS:
            loop.add_signal_handler(signum, self.begin)

    def begin(self) -> None:
        """Start to drain; a second call changes nothing."""
        if self._task is None:
            loop = asyncio.get_running_loop()
            if isinstance(loop, SignalCallbacks):
                loop.drain_begun = True
            self._task = loop.create_task(self._drain())

    async def wait(self) -> None:
        """Return when the drain is over."""
        if self._task is not None:
            await self._task

    def __enter__(self) -> None:
        self._running += 1
        self._idle.clear()

    def __exit__(self, *_: object) -> None:
        self._running -= 1
        if self._running == 0:
            self._idle.set()

    async def _drain(self) -> None:
        reports.write("draining", f"Requests to finish: {self._running}", running=self._running)
        try:
            await asyncio.wait_for(self._idle.wait(), self._timeout)
            reports.write("drained", "No request runs any more")
        except TimeoutError:
            reports.write(
                "drained",
                f"Cut after {self._timeout:g} s, requests that still ran: {self._running}",
                level="warning",
            )
        self._stop()


def _stop_vllm(stop: Callable[[], object]) -> None:
    last_resort = threading.Timer(SHUTDOWN_S, os._exit, args=(0,))
    last_resort.daemon = True
    last_resort.start()
    stop()
