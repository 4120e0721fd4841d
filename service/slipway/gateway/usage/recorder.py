"""Brings one journal into the database: exactly once, whatever is killed in between, on either side."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, IntegrityError

from slipway.gateway.logs import JSONLog
from slipway.gateway.usage import store
from slipway.gateway.usage.rows import Row, killed_row, record_id, record_row
from slipway.gateway.usage.segments import Progress
from slipway.gateway.usage.store import OvertakenError, Position
from slipway.gateway.usage.tails import Tail

BATCH = 5000
"""Records in one transaction."""


@dataclass(slots=True)
class Recorder:
    """Records one journal. Raises SQLAlchemy's errors while the database is away; just call it again."""

    folder: Path
    engine: Engine
    wall: Callable[[], float]
    log: JSONLog
    _tail: Tail | None = None
    _rows: list[Row] = field(default_factory=list)
    """Read and not yet known to be recorded."""

    @property
    def instance(self) -> str:
        """Whose journal it is."""
        return self.folder.name

    def step(self) -> bool:
        """Record what has come, up to a batch; whether there may be more already."""
        tail = self._attached()
        if tail is None:
            return False
        again = bool(self._rows)
        if not again:
            instance = self.instance
            self._rows = [record_row(instance, *each) for each in tail.read(BATCH)]
        count = len(self._rows)
        if count or tail.at.segment != tail.recorded.segment:
            if not self._record(tail, self._rows):
                return True
            self._rows = []
            tail.discard_read()
        more = again or count == BATCH
        now = 0.0 if more else self.wall()
        Progress(tail.at.segment, tail.at.offset, tail.recorded.closed, now).write(self.folder)
        return more

    def finish(self) -> None:
        """Its writer is gone: record the rest, and what is known of requests left open; remove it."""
        while (tail := self._attached()) is not None:
            if self.step():
                continue
            if tail.damaged:
                where = f"segment {tail.at.segment} of {self.instance}"
                self.log.write("error", "usage_journal", f"{where} cannot be read from {tail.at.offset} on")
            if tail.next_segment():
                continue
            left = [killed_row(self.instance, number, opened) for number, (_, opened) in tail.opened.items()]
            if self._record(tail, left, ended_us=self._now_us()):
                tail.close()
                break
        shutil.rmtree(self.folder, ignore_errors=True)

    def sync(self) -> None:
        """Bring the journal to the disk, for the case that the machine itself ends."""
        if self._tail is not None:
            self._tail.sync()

    def _attached(self) -> Tail | None:
        """The journal as far as it is recorded; None if it was recorded to its end."""
        if self._tail is None:
            self._rows = []
            with self.engine.begin() as connection:
                recorded = store.attach(connection, self.instance, self._now_us())
            if recorded is None:
                return None
            tail = Tail(self.folder, recorded)
            # The closing entries of some may have been in segments that are recorded and deleted.
            numbers = {
                record_id(self.instance, number, started_us): number
                for number, (_, (started_us, _)) in tail.opened.items()
            }
            with self.engine.begin() as connection:
                for done in store.known(connection, numbers):
                    del tail.opened[numbers[done]]
            self._tail = tail
        return self._tail

    def _record(self, tail: Tail, rows: list[Row], ended_us: int | None = None) -> bool:
        """Commit rows; False if the journal has to be read anew."""
        before, after = tail.recorded, tail.at
        try:
            try:
                self._add(rows, before, after, ended_us)
            except (IntegrityError, DataError):
                self._add(self._acceptable(rows), before, after, ended_us)
        except OvertakenError:
            tail.close()
            self._tail = None
            return False
        tail.recorded = after
        return True

    def _add(self, rows: list[Row], before: Position, after: Position, ended_us: int | None) -> None:
        with self.engine.begin() as connection:
            store.add(connection, self.instance, rows, before, after, ended_us)

    def _acceptable(self, rows: list[Row]) -> list[Row]:
        """The rows that the database takes: one that it never takes must not hold up all that follow."""
        taken = []
        for row in rows:
            with self.engine.connect() as connection, connection.begin() as trial:
                try:
                    store.insert(connection, [row])
                    taken.append(row)
                except (IntegrityError, DataError) as error:
                    self.log.write("error", "usage_refused", f"{row[0]}: {str(error.orig)[:500]}")
                trial.rollback()
        return taken

    def _now_us(self) -> int:
        return int(self.wall() * 1_000_000)
