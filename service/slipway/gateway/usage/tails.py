"""Reads a journal while it is written: closed requests in order, with what was said when they were opened."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from slipway.gateway.usage.entries import Entries, Entry, Opened, Outcome
from slipway.gateway.usage.segments import HEADER, Cursor, segment_path, segments_in
from slipway.gateway.usage.store import Position

Closed = tuple[int, Opened, int, Outcome]
"""A request's number, its beginning, its number among those that ended, its outcome."""


class Tail:
    """Where one journal has been read to, and the requests that are open there."""

    def __init__(self, folder: Path, recorded: Position) -> None:
        """`recorded`: up to there all is in the database; what was opened before it is read again."""
        self.folder = folder
        self.recorded = recorded
        self.opened: dict[int, tuple[int, Opened]] = {}
        """By number: the segment and what was said."""
        self._segment = min([*segments_in(folder), recorded.segment])
        self._offset = self._closed = 0
        self._file: int | None = None
        self._cursor: Cursor | None = None
        self._reader = Entries()
        for entry in self._entries(recorded):
            self._take(entry)
        self._closed = recorded.closed
        self._synced = self.at

    @property
    def at(self) -> Position:
        """How far it has been read."""
        return Position(self._segment, self._offset, self._closed)

    def read(self, most: int) -> list[Closed]:
        """Up to `most` requests that were closed after what is recorded; `at` is then behind the last."""
        found: list[Closed] = []
        for entry in self._entries():
            closed = self._take(entry)
            if closed is not None:
                found.append(closed)
                if len(found) == most:
                    break
        return found

    @property
    def damaged(self) -> bool:
        """Whether there is something at the end of what could be read."""
        return self._file is not None and any(os.pread(self._file, HEADER, self._offset))

    def next_segment(self) -> bool:
        """Go to the next segment there is, if there is one; those between were deleted."""
        later = [number for number in segments_in(self.folder) if number > self._segment]
        if not later:
            return False
        self.close()
        self._segment, self._offset = later[0], 0
        return True

    def discard_read(self) -> None:
        """Delete the segments that are recorded and that no open request needs."""
        needed = {segment for segment, _ in self.opened.values()}
        for number in segments_in(self.folder):
            if number < self.recorded.segment and number not in needed:
                segment_path(self.folder, number).unlink(missing_ok=True)

    def sync(self) -> None:
        """Bring what was read of the current segment to the disk."""
        if self._file is not None and self.at != self._synced:
            with suppress(OSError):
                os.fsync(self._file)
            self._synced = self.at

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
        self._file = self._cursor = None
        self._reader = Entries()

    def _entries(self, until: Position | None = None) -> Iterator[Entry]:
        """What is there from `at` on, which moves with each."""
        while until is None or self.at < until:
            cursor = self._open()
            if cursor is None:
                return
            for data in cursor.read():
                entry = self._reader.read(data)
                self._offset = cursor.at
                if entry[2] is not None:
                    self._closed = entry[2][0]
                yield entry
                if until is not None and self.at == until:
                    return
            if not cursor.ended or not self.next_segment():
                return

    def _take(self, entry: Entry) -> Closed | None:
        """The whole of a request that was closed; None for one that was opened.

        None too where nothing is known of its beginning: that was in a segment which is recorded and deleted,
        and so is this one's end; or behind a damage.
        """
        number, opened, ended = entry
        if ended is None:
            assert opened is not None  # noqa: S101 - an entry says one of them
            self.opened[number] = (self._segment, opened)
            return None
        if opened is None:
            known = self.opened.pop(number, None)
            if known is None:
                return None
            opened = known[1]
        return number, opened, *ended

    def _open(self) -> Cursor | None:
        if self._cursor is None:
            path = segment_path(self.folder, self._segment)
            if not path.exists() and not self.next_segment():
                return None
            self._file = os.open(segment_path(self.folder, self._segment), os.O_RDONLY | os.O_CLOEXEC)
            self._cursor = Cursor(self._file, self._offset)
        return self._cursor
