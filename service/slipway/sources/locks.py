"""One process at a time for a source. A lock dies with the process that holds it, however that ends."""

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

from slipway.sources.progress import Progress, Report, check, wait

_LOOK_EVERY_S = 0.2


class Lock:
    """A held lock. Its file tells waiting processes how far the holder is."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def publish(self, progress: Progress) -> None:
        """Tell those who wait."""
        line = json.dumps(asdict(progress)).encode() + b"\n"
        # Not atomic, and need not be: whoever reads half a line looks again a moment later.
        with suppress(OSError):
            os.ftruncate(self._descriptor, os.pwrite(self._descriptor, line, 0))


@contextmanager
def hold(path: Path, report: Report, cancelled: threading.Event | None) -> Iterator[Lock]:
    """Hold the lock at `path`; while another process has it, report what that one does.

    The file stays afterwards: removing it would let two processes hold two locks of one name.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while not _try(descriptor):
            report(_of_holder(descriptor))
            wait(_LOOK_EVERY_S, cancelled)
        check(cancelled)
        os.ftruncate(descriptor, 0)
        yield Lock(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def holding(path: Path) -> Iterator[bool]:
    """Hold the lock at `path` if nobody else does; say whether."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield _try(descriptor)
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _of_holder(descriptor: int) -> Progress:
    message = "waiting for another process that downloads it"
    try:
        told = Progress(**json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError):
        return Progress("download", message=message)
    return replace(told, message=f"{message}: {told.message}" if told.message else message)
