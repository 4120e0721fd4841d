"""A table that is drawn again in its place, for commands that watch."""

import shutil
from collections.abc import Sequence
from typing import TextIO

from slipway.cli.options import columns


class Screen:
    """Draws over what it drew before; the lines fit the terminal, so that none wraps."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn: list[str] = []

    def draw(self, head: Sequence[str], rows: Sequence[Sequence[object]], note: str = "") -> None:
        """Show the table, and a note below it."""
        size = shutil.get_terminal_size()
        lines = columns(head, rows) if rows else ["Nothing yet."]
        most = max(1, size.lines - 2 - bool(note))
        if len(lines) > most:
            lines = [*lines[: most - 1], f"… {len(lines) - most + 1} more lines"]
        drawn = [line[: size.columns - 1] for line in [*lines, *([note] if note else [])]]
        if drawn == self._drawn:
            return
        up = f"\x1b[{len(self._drawn)}F\x1b[J" if self._drawn else ""
        self._stream.write(up + "".join(f"{line}\n" for line in drawn))
        self._stream.flush()
        self._drawn = drawn
