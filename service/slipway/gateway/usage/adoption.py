"""Finds the journals of gateways that are gone, and brings them into the database."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from slipway.gateway.logs import JSONLog
from slipway.gateway.usage.recorder import Recorder
from slipway.gateway.usage.segments import INSTANCE, OWNER_LOCK, RECORDER_LOCK, lock


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Whether the lock could be taken; it is let go at the end."""
    try:
        file = lock(path)
    except FileNotFoundError:  # The journal is complete, and was removed just now.
        file = None
    try:
        yield file is not None
    finally:
        if file is not None:
            os.close(file)


def adopt(root: Path, engine: Engine, wall: Callable[[], float], log: JSONLog) -> int:
    """Record what gateways left behind under `root` that live no more; how many there were.

    Raises SQLAlchemy's errors while the database is away.
    """
    adopted = 0
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if not INSTANCE.fullmatch(folder.name):
            continue
        with held(folder / OWNER_LOCK) as orphaned, held(folder / RECORDER_LOCK) as unread:
            if orphaned and unread:
                Recorder(folder, engine, wall, log).finish()
                log.write("info", "usage_adopted", f"the journal of {folder.name} is recorded")
                adopted += 1
    return adopted
