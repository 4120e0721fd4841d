"""The log: one JSON object a line on standard error. Never a prompt, never a key."""

import logging
import sys
import time
from collections.abc import Callable
from typing import TextIO

import orjson

FLUSH_AFTER = 0.2
"""Seconds that a line of a good request may wait; warnings and errors are written at once."""
FLUSH_LINES = 256

Later = Callable[[float, Callable[[], None]], object]


class JSONLog:
    """Writes lines; gathers those of requests for a moment: a write each costs as much as the relay."""

    def __init__(self, stream: TextIO | None = None, wall: Callable[[], float] = time.time) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._wall = wall
        self._later: Later | None = None
        self._lines: list[bytes] = []
        self._waiting = False
        self._second = -1
        self._prefix = b""

    def gather(self, later: Later | None) -> None:
        """From now on gather lines and flush them by `later(seconds, call)`; None ends that."""
        self._later = later
        if later is None:
            self.flush()

    def request(self, fields: dict[str, object]) -> None:
        """One line about one request; `fields` are not empty."""
        # Joined as text: to put the same three fields before others in a dictionary costs as much again.
        line = orjson.dumps(fields, default=str)
        self._lines.append(b'{"ts":"%b","level":"info","event":"request",%b' % (self._now(), line[1:]))
        if self._later is None or len(self._lines) >= FLUSH_LINES:
            self.flush()
        elif not self._waiting:
            self._waiting = True
            self._later(FLUSH_AFTER, self._flush_later)

    def write(self, level: str, event: str, message: str, **fields: object) -> None:
        """One line about anything else, written at once."""
        line = {"ts": self._now().decode(), "level": level, "event": event, "message": message, **fields}
        self._lines.append(orjson.dumps(line, default=str))
        self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        lines, self._lines = self._lines, []
        if lines:
            try:
                self._stream.write((b"\n".join(lines) + b"\n").decode())
                self._stream.flush()
            except (OSError, ValueError):
                pass  # Nobody reads the log any more; that must not stop the service.

    def _flush_later(self) -> None:
        self._waiting = False
        self.flush()

    def _now(self) -> bytes:
        now = self._wall()
        second = int(now)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        return b"%b.%03dZ" % (self._prefix, int((now - second) * 1000))


class StandardLogging(logging.Handler):
    """Brings what libraries log by `logging` into the same form."""

    def __init__(self, log: JSONLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, object] = {"logger": record.name}
        if record.exc_info:
            fields["trace"] = logging.Formatter().formatException(record.exc_info)
        self._log.write(record.levelname.lower(), "library", record.getMessage(), **fields)
