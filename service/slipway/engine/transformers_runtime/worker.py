"""The one thread that runs the model, so that the event loop lives while it computes."""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

LOG = logging.getLogger("slipway.engine.worker")


class Work(Protocol):
    """What the worker does, step by step."""

    def wait(self) -> bool:
        """Block until there is something to do; False when the worker is to end."""
        ...

    def step(self) -> None:
        """Run one forward pass, or a few. Faults of single requests are delivered to those, not raised."""
        ...


class Worker:
    """Runs the steps until it is told to end."""

    def __init__(self, work: Work, close: Callable[[], None], died: Callable[[], None]) -> None:
        """`close` makes `work.wait` return False; `died` is called in the thread when a step raised."""
        self._work = work
        self._close = close
        self._died = died
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def alive(self) -> bool:
        """Whether requests will be worked on."""
        return self._thread.is_alive()

    def stop(self, timeout: float) -> bool:
        """End after the step under way; whether it ended within `timeout` seconds."""
        self._close()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while self._work.wait():
                self._work.step()
        except BaseException:
            LOG.exception("The worker died")
            self._died()
