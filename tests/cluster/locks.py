"""Locks between runs of this command: several may want the same cluster, program or image at once."""

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cluster.places import CACHE


@contextmanager
def locked(what: str, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock `what`, alone or with others that only read. Says so where it has to wait."""
    CACHE.mkdir(parents=True, exist_ok=True)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with (CACHE / f"{what}.lock").open("w") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another run that works on {what}", file=sys.stderr)
            fcntl.flock(file, kind)
        yield
