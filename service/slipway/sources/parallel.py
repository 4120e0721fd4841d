"""Several files at a time, as one piece of work: the first failure ends it all."""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TypeVar

from slipway.sources.errors import FetchCancelledError
from slipway.sources.origins import Job

_SLICE_S = 0.1
Item = TypeVar("Item")


class _Either(threading.Event):
    """Set once it is set itself, or the caller's event is."""

    def __init__(self, other: threading.Event | None) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or (self._other is not None and self._other.is_set())

    def wait(self, timeout: float | None = None) -> bool:
        ends = None if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            left = _SLICE_S if ends is None else min(_SLICE_S, ends - time.monotonic())
            if left <= 0:
                return False
            super().wait(left)
        return True


def each(work: Callable[[Item, Job], None], items: Iterable[Item], job: Job, *, threads: int) -> None:
    """Do `work` for all items; raise what the first failing one raised, after the others have stopped."""
    stop = _Either(job.cancelled)
    inner = replace(job, cancelled=stop)
    with ThreadPoolExecutor(threads, thread_name_prefix="fetch") as pool:
        futures = [pool.submit(work, item, inner) for item in items]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        if any(future.exception() for future in done):
            stop.set()
    errors = [error for future in futures if (error := future.exception())]
    for error in errors:
        if not isinstance(error, FetchCancelledError):
            raise error
    if errors:
        raise errors[0]
