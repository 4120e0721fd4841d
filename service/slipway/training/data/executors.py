"""Who does the tasks: this process, processes of this machine, or the machines of a Ray cluster.

A task is a pure function's argument: its results are files in a folder that all can reach, and a few counts.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

_AHEAD = 2
"""Tasks that wait for each process, so that none is idle."""
_PR_SET_PDEATHSIG = 1


class Executor(Protocol):
    """Calls a function for each task; what comes back may be in another order."""

    def __call__(self, work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        """The results."""


def here(work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
    """Do them one after another in this process."""
    return map(work, tasks)


def processes(count: int) -> Executor:
    """Do them in `count` processes of this machine. Whoever stops taking results stops them."""

    def run(work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        import multiprocessing
        from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

        # Spawned, not forked: threads of libraries do not survive a fork.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(count, mp_context=context, initializer=_begin) as pool:
            pending: set[Future[Any]] = set()
            try:
                for task in tasks:
                    pending.add(pool.submit(work, task))
                    while len(pending) >= count + _AHEAD:
                        done, pending = wait(pending, return_when=FIRST_COMPLETED)
                        yield from (future.result() for future in done)
                while pending:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    return run


def ray(work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
    """Do them on Ray Data, whose workers need this package, the sources' files and the workspace.

    `RAY_ADDRESS` names the cluster; without it Ray starts on this machine.
    """
    import ray.data

    def call(row: dict[str, Any]) -> dict[str, Any]:
        return {"item": work(row["item"])}

    found = ray.data.from_items([{"item": task} for task in tasks]).map(call)
    return (row["item"] for row in found.iter_rows())


def _begin() -> None:
    """A process of the pool: Ctrl-C is its parent's to answer; it ends with it, and uses one core."""
    import ctypes
    import os
    import signal
    import sys

    if sys.platform == "linux":
        # A parent that is killed tells nobody; its children would wait for tasks for ever.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["RAYON_NUM_THREADS"] = "1"
    os.environ["OMP_NUM_THREADS"] = "1"
