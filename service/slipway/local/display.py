"""The progress of a start: live lines on a terminal, a plain line now and then elsewhere."""

import shutil
import time
from collections.abc import Callable
from typing import TextIO

from slipway.local.following import Line

PLAIN_EVERY_S = 5.0


class Display:
    """Shows the lines of all processes until `close`; other messages go between them through `say`."""

    def __init__(
        self, stream: TextIO, live: bool | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._live = stream.isatty() if live is None else live
        self._clock = clock
        self._drawn: list[str] = []
        self._states: dict[str, str] = {}
        self._said: dict[str, tuple[float, str]] = {}
        self._closed = False

    def show(self, lines: list[Line]) -> None:
        """The processes' state now."""
        if self._closed:
            return
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            drawn = [_one_line(line)[:width] for line in lines]
            if drawn == self._drawn:
                return
            self._erase()
            self._drawn = drawn
            self._write("".join(f"{text}\n" for text in self._drawn))
            return
        now = self._clock()
        for line in lines:
            changed = self._states.get(line.name) != line.state
            said_at, said = self._said.get(line.name, (now, ""))
            text = _one_line(line)
            if changed or (not line.settled and text != said and now - said_at >= PLAIN_EVERY_S):
                self._write(f"{text}\n")
                self._said[line.name] = (now, text)
            self._states[line.name] = line.state

    def say(self, message: str) -> None:
        """A message that stays."""
        self._erase()
        self._write(f"{message}\n")
        if self._live and self._drawn and not self._closed:
            self._write("".join(f"{text}\n" for text in self._drawn))

    def close(self) -> None:
        """The lines stay as they are; `say` goes on."""
        self._closed = True
        self._drawn = []

    def _erase(self) -> None:
        if self._live and self._drawn:
            self._write(f"\x1b[{len(self._drawn)}F\x1b[J")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone; the run goes on
            self._closed = True


def _one_line(line: Line) -> str:
    message = " ".join(line.message.split())
    if line.state == "Starting" and message:
        return f"{line.name}: {message}"
    return f"{line.name}: {line.state.lower()}" + (f", {message}" if message else "")
