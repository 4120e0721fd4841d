"""The journal's format: segment files of entries `[u32 length][u32 crc32][data]`, the length written last.

A journal is the folder of one gateway process, `STATE/usage/INSTANCE/`:

    owner.lock      an flock held while the gateway lives
    recorder.lock   an flock held by the recorder that reads it
    progress        how far the recorder has come
    00000001.seg    the segments, of one size, reserved on disk when they are made

A length of zero is the end of what was written so far, `END` the end of a segment that another follows.
"""

import fcntl
import os
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

HEADER = 8
END = 0xFFFF_FFFF
"""In place of a length: nothing follows in this segment."""
OWNER_LOCK = "owner.lock"
RECORDER_LOCK = "recorder.lock"
INSTANCE = re.compile(r"[0-9a-f]{12}")
"""What the folder of a journal is called."""
_LENGTH = struct.Struct("<I")
_HEADER = struct.Struct("<II")
_PROGRESS = struct.Struct("<QQQd")


def framed(data: bytes) -> bytes:
    """An entry as it stands in a segment."""
    return _HEADER.pack(len(data), crc32(data)) + data


def segment_path(folder: Path, number: int) -> Path:
    """The file of one segment."""
    return folder / f"{number:08d}.seg"


def segments_in(folder: Path) -> list[int]:
    """The numbers of the segments that exist, in order."""
    return sorted(int(path.stem) for path in folder.glob("????????.seg"))


class Cursor:
    """Reads the entries of one segment while it is being written."""

    def __init__(self, file: int, at: int = 0, *, piece: int = 1 << 20) -> None:
        """`file` is a descriptor; `at` the offset of the first entry that is wanted."""
        self._file = file
        self._piece = piece
        self.at = at
        self.ended = False
        """The mark of the segment's end was read."""

    def read(self) -> Iterator[bytes]:
        """The entries that are there now, `at` behind each. One that is not whole yet is left for later."""
        data, base = b"", self.at
        while True:
            start = self.at - base
            if len(data) - start < HEADER:
                data, base, start = os.pread(self._file, self._piece, self.at), self.at, 0
                if len(data) < 4:
                    return
            (length,) = _LENGTH.unpack_from(data, start)
            if length == END:
                self.ended = True
                return
            if length == 0 or len(data) - start < HEADER:
                return
            if len(data) - start < HEADER + length:
                data, base, start = os.pread(self._file, HEADER + length, self.at), self.at, 0
                if len(data) < HEADER + length:
                    return
            (check,) = _LENGTH.unpack_from(data, start + 4)
            entry = data[start + HEADER : start + HEADER + length]
            if crc32(entry) != check:
                return
            self.at += HEADER + length
            yield entry


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a journal's recorder has come."""

    segment: int = 0
    offset: int = 0
    closed: int = 0
    """Closing entries that are in the database."""
    at: float = 0.0
    """Seconds since 1970 of the last look that left nothing behind."""

    def write(self, folder: Path) -> None:
        """Replace what the folder says, in one piece. Nothing depends on it but what metrics show."""
        with suppress(OSError):
            file = os.open(folder / "progress", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(file, _PROGRESS.pack(self.segment, self.offset, self.closed, self.at), 0)
            finally:
                os.close(file)

    @classmethod
    def read(cls, folder: Path) -> "Progress":
        """What the folder says; nothing is no progress."""
        try:
            return cls(*_PROGRESS.unpack((folder / "progress").read_bytes()))
        except (OSError, struct.error):
            return cls()


def lock(path: Path) -> int | None:
    """Take the flock of `path`; its descriptor, None if another process has it. Raises OSError."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except OSError:
        os.close(file)
        raise
    return file
