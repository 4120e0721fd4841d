"""The recorder's process. A gateway starts it, tells it what to do in one line of standard input, and ends it
by closing that: which the kernel does too when the gateway is killed."""

import gc
import json
import os
import select
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from slipway.gateway.logs import JSONLog
from slipway.gateway.storage.database import migrate, open_engine
from slipway.gateway.usage import store
from slipway.gateway.usage.adoption import adopt, held
from slipway.gateway.usage.recorder import Recorder
from slipway.gateway.usage.segments import OWNER_LOCK, RECORDER_LOCK

TICK = 0.25
"""Seconds between two looks at the journal: many records at once cost less each."""
IDLE_TICK = 1.0
"""The same while nothing comes; each look that finds nothing makes the next one twice as late, up to this."""
SYNC_EVERY = 1.0
ADOPT_EVERY = 15.0
FORGET_EVERY = 3600.0
LONGEST_BACKOFF = 5.0
LINGER = 20.0
"""Seconds in which a recorder whose gateway is gone tries to reach the database; the next one goes on."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a recorder is told."""

    root: str
    """`STATE/usage`."""
    instance: str
    database: str
    """SQLAlchemy's URL. It may hold a password, and so is not an argument."""
    timeout: float
    """Seconds that the database may take."""
    retention_days: int
    totals_days: int

    def line(self) -> bytes:
        """As it goes to the process."""
        return json.dumps(asdict(self)).encode() + b"\n"


@dataclass(slots=True)
class Process:
    """The main loop."""

    task: Task
    engine: Engine
    log: JSONLog
    own: Recorder
    _migrated: bool = False
    _away_since: float | None = None
    _due: dict[str, float] = field(default_factory=dict)

    def run(self) -> None:
        """Record until the gateway is gone, then the rest."""
        pause = 0.0
        while True:
            try:
                pause = 0.0 if self._work() else min(IDLE_TICK, max(TICK, 2 * pause))
                self._there()
            except SQLAlchemyError as error:
                pause = self._away(error)
            if _closed(sys.stdin.fileno(), pause):
                break
        self._finish()

    def _work(self) -> bool:
        if not self._migrated:
            migrate(self.engine)
            self._migrated = True
        busy = self.own.step()
        if self._is_due("sync", SYNC_EVERY):
            self.own.sync()
        if not busy and self._is_due("adopt", ADOPT_EVERY):
            adopt(Path(self.task.root), self.engine, time.time, self.log)
        if not busy and self._is_due("forget", FORGET_EVERY):
            self._forget()
        return busy

    def _finish(self) -> None:
        folder = self.own.folder
        end = time.monotonic() + LINGER
        while folder.exists() and time.monotonic() < end:
            with held(folder / OWNER_LOCK) as ended:
                if ended:
                    try:
                        self.own.finish()
                    except SQLAlchemyError as error:
                        self._away(error)
            time.sleep(TICK)

    def _forget(self) -> None:
        now = time.time_ns() // 1000
        while True:
            with self.engine.begin() as connection:
                if not store.forget_records(connection, now, self.task.retention_days):
                    store.forget_days(connection, now, self.task.totals_days)
                    return
            self.own.step()

    def _is_due(self, what: str, every: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + every
        return True

    def _away(self, error: SQLAlchemyError) -> float:
        """The database does not answer: say so once; seconds until the next try."""
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            reason = str(getattr(error, "orig", error)).strip().splitlines()
            self.log.write("error", "usage_database", f"records wait in the journal: {reason[:1]}")
        return min(LONGEST_BACKOFF, max(0.2, (now - self._away_since) / 4))

    def _there(self) -> None:
        if self._away_since is not None:
            self._away_since = None
            self.log.write("info", "usage_database", "the database answers again")


def _closed(file: int, seconds: float) -> bool:
    """Whether nobody holds the other end any more; waits so long for that."""
    readable, _, _ = select.select([file], [], [], seconds)
    return bool(readable) and not os.read(file, 4096)


def main() -> int:
    """Read the task and do it."""
    # A batch is very many tuples in no cycle, and all of them go at its end: looking at them costs a tenth.
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
    # Ctrl-C reaches the whole process group; the gateway's answers are still to be recorded.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(sys.stdin.fileno(), 65_536)
        if not piece:
            return 2
        line += piece
    task = Task(**json.loads(line))
    log = JSONLog()
    folder = Path(task.root) / task.instance
    with held(folder / RECORDER_LOCK) as alone:
        if not alone:
            log.write("error", "usage_journal", f"{folder} is not there, or another recorder reads it")
            return 1
        engine = open_engine(task.database, task.timeout, 1, durable=True)
        Process(task, engine, log, Recorder(folder, engine, time.time, log)).run()
    return 0
