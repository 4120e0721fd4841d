"""The usage journal: what the gateway itself does for a usage record is a copy into mapped memory.

The kernel keeps what was written to a mapped file when the process is killed at any instruction; the
recorder, a process of its own, brings it into the database and to the disk.
"""

import json
import mmap
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from slipway.gateway.errors import APIError, retry_after
from slipway.gateway.usage import segments
from slipway.gateway.usage.entries import CLOSED, OPENED, REFUSED, Asked, Outcome
from slipway.gateway.usage.segments import END, OWNER_LOCK, Progress, framed

SEGMENT = 16 * 1024 * 1024
"""Bytes of a segment, unless a quarter of the whole journal is less."""
CLOSE_ROOM = 2048
"""Bytes kept free for the closing entry of every request under way: what was begun can always be recorded."""
_MARK = END.to_bytes(4, "little")
_LOOK_AGAIN = 0.1
"""Seconds between two looks whether a full journal has room again."""


def journal_full() -> APIError:
    """503: nothing is served that could not be recorded."""
    return APIError(
        503,
        "usage_unavailable",
        "The gateway cannot record usage now and serves nothing unrecorded. Try again in a few seconds.",
        headers=retry_after(2.0),
    )


class UsageJournal(Protocol):
    """Where records go first."""

    def open(self, started_us: int, asked: Asked, number: int = 0) -> int:
        """An engine is about to be asked; the number of the record to come.

        Given the number of an earlier call, replaces what that said. 0 where the journal is full and requests
        are served all the same; otherwise raises APIError 503.
        """
        ...

    def close(self, number: int, outcome: Outcome) -> None:
        """The request of `number` has ended."""
        ...

    def refuse(self, started_us: int, asked: Asked, outcome: Outcome) -> None:
        """A request has ended that no engine was asked about; its whole record."""
        ...


@dataclass(frozen=True, slots=True)
class Waiting:
    """What of a journal is not in the database yet."""

    bytes: int
    """Bytes of its segments on disk."""
    records: int
    seconds: float
    """Since everything was in the database; 0 if it is."""


class Journal:
    """The journal of one gateway process."""

    def __init__(
        self,
        root: Path,
        instance: str,
        *,
        wall: Callable[[], float],
        most: int = 1 << 30,
        serve_when_full: bool = False,
        segment: int | None = None,
    ) -> None:
        """`root` is `STATE/usage`, `instance` the gateway's name there: 12 hex digits, never used before.

        `most` and `segment` are bytes, `wall` seconds since 1970.
        """
        self.instance = instance
        self.folder = root / self.instance
        self.closed = 0
        """Closing entries written."""
        self.unrecorded = 0
        """Requests of which nothing could be written."""
        self._wall = wall
        self._size = size = segment or min(SEGMENT, most // 4)
        self._most = max(1, most // size)
        self._serve_when_full = serve_when_full
        self._lock: int | None = None
        self._last = 0
        """The last request's number."""
        self._asked: dict[tuple[str, ...], int] = {}
        """Texts that were told in this segment, and by which number."""
        self._outcome: dict[tuple[str, ...], int] = {}
        self._unclosed = 0
        self._number = 0
        self._map: mmap.mmap | None = None
        self._spare: deque[mmap.mmap] = deque()
        """Segments that are ready and empty."""
        self._at = size
        self._look_after = 0.0
        self._ended = False

    def start(self) -> None:
        """Make the folder, held by this process from the moment it can be seen. Raises OSError."""
        if self._lock is not None:
            return
        new = self.folder.parent / f".{self.instance}"
        new.mkdir(parents=True, exist_ok=True)
        self._lock = segments.lock(new / OWNER_LOCK)
        new.rename(self.folder)

    def end(self) -> None:
        """Nothing more will be written: let the recorder finish."""
        self._ended = True
        for each in (self._map, *self._spare):
            if each is not None:
                each.close()
        self._map = None
        self._spare.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def open(self, started_us: int, asked: Asked, number: int = 0) -> int:
        """See UsageJournal.open."""
        entry = number or self._last + 1
        if not self._write((OPENED, entry, started_us), asked, None, self._unclosed + 1):
            if self._serve_when_full:
                return number
            raise journal_full()
        if not number:
            self._last = entry
            self._unclosed += 1
        return entry

    def close(self, number: int, outcome: Outcome) -> None:
        """See UsageJournal.close."""
        self._unclosed -= 1
        self._end((CLOSED, number), None, outcome, must=True)

    def refuse(self, started_us: int, asked: Asked, outcome: Outcome) -> None:
        """See UsageJournal.refuse."""
        self._last += 1
        self._end((REFUSED, self._last, started_us), asked, outcome, must=False)

    def waiting(self) -> Waiting:
        """What the recorder has not brought into the database."""
        progress = Progress.read(self.folder)
        records = max(0, self.closed - progress.closed)
        since = progress.at or self._wall()
        held = len(segments.segments_in(self.folder)) * self._size
        return Waiting(held, records, max(0.0, self._wall() - since) if records else 0.0)

    def _end(self, front: tuple[int, ...], asked: Asked | None, outcome: Outcome, *, must: bool) -> None:
        if self._write(front, asked, outcome, self._unclosed, must=must):
            self.closed += 1
        else:
            self.unrecorded += 1

    def _write(
        self,
        front: tuple[int, ...],
        asked: Asked | None,
        outcome: Outcome | None,
        unclosed: int,
        *,
        must: bool = False,
    ) -> bool:
        frame = framed(self._data(front, asked, outcome))
        length = len(frame)
        if self._size - len(_MARK) - self._at - length < unclosed * CLOSE_ROOM:
            if not self._make_room(length, unclosed, must=must):
                return False
            # In another segment everything is to be told again.
            frame = framed(self._data(front, asked, outcome))
        assert self._map is not None  # noqa: S101 - for the type checker
        start, end = self._at, self._at + len(frame)
        self._map[start + 4 : end] = frame[4:]
        self._map[start : start + 4] = frame[:4]
        self._at = end
        if asked is not None and asked.texts not in self._asked:
            self._asked[asked.texts] = len(self._asked) + 1
        if outcome is not None and outcome.texts not in self._outcome:
            self._outcome[outcome.texts] = len(self._outcome) + 1
        return True

    def _data(self, front: tuple[int, ...], asked: Asked | None, outcome: Outcome | None) -> bytes:
        fields: tuple[Any, ...] = front
        told: Any
        if asked is not None:
            told = self._asked.get(asked.texts) or (len(self._asked) + 1, *asked.texts)
            fields += (told, *asked[1:])
        if outcome is not None:
            told = self._outcome.get(outcome.texts) or (len(self._outcome) + 1, *outcome.texts)
            fields += (self.closed + 1, told, *outcome[1:])
        try:
            return orjson.dumps(fields)
        except TypeError:  # An integer beyond 64 bits, by an engine that counts badly.
            return json.dumps(fields).encode()

    def _make_room(self, length: int, unclosed: int, *, must: bool) -> bool:
        """Room for `length` bytes, and for the closing entries of all requests that are open then.

        Some of those must be told texts anew in another segment; CLOSE_ROOM is more than they need for it.
        """
        left = self._size - len(_MARK) - self._at - length
        needed = unclosed * CLOSE_ROOM
        while (max(0, left - CLOSE_ROOM) if left >= 0 else -length) + self._spare_room() < needed:
            if not self._prepare(over=must and left < 0 and not self._spare):
                if not must or (left < 0 and not self._spare):
                    return False
                break
        if left < 0:
            self._roll()
        return True

    def _spare_room(self) -> int:
        """Bytes in the segments that are ready; what is left at the end of each may be too little to use."""
        return len(self._spare) * (self._size - CLOSE_ROOM)

    def _roll(self) -> None:
        old, self._map = self._map, self._spare.popleft()
        if old is not None:
            old[self._at : self._at + 4] = _MARK
            old.close()
        self._at = 0
        self._asked.clear()
        self._outcome.clear()

    def _prepare(self, *, over: bool) -> bool:
        """Make the next segment, its space on disk reserved: writing to it can then never fail.

        `over`: even beyond the bound, for a request that was begun.
        """
        now = self._wall()
        if self._ended or (not over and now < self._look_after <= now + 2 * _LOOK_AGAIN):
            return False
        self._look_after = now + _LOOK_AGAIN
        try:
            self.start()
            if not over and len(segments.segments_in(self.folder)) >= self._most:
                return False
            path = segments.segment_path(self.folder, self._number + 1)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, self._size)
                self._spare.append(mmap.mmap(file, self._size))
            except OSError:
                path.unlink()
                return False
            finally:
                os.close(file)
        except OSError:
            return False
        self._look_after = 0.0
        self._number += 1
        return True
