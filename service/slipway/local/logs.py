"""Logs of children: the events in them, and what to show of one that ended."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TAIL_BYTES = 64 * 1024
KEEP_BYTES = 64 * 1024 * 1024


def events(data: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects among the lines of `data`."""
    for line in data.splitlines():
        if line.startswith(b"{"):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value


class Tail:
    """What is appended to a log, from where it stood when this was made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.start = self._position = _size(path)
        self._rest = b""

    def read(self) -> bytes:
        """The complete lines since the last call; nothing if the log cannot be read."""
        try:
            with self.path.open("rb") as file:
                if _size(self.path) < self._position:  # cut by `bound`
                    self.start = self._position = 0
                file.seek(self._position)
                data = file.read(1024 * 1024)
        except OSError:
            return b""
        self._position += len(data)
        lines, newline, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest[-TAIL_BYTES:]
        return lines + newline

    def end(self) -> bytes:
        """The last part of what this process wrote."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(self.start, _size(self.path) - TAIL_BYTES))
                return file.read(TAIL_BYTES)
        except OSError:
            return b""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def bound(path: Path, keep: int = KEEP_BYTES) -> None:
    """Cut a log that grew past `keep` bytes; its last part stays beside it. Raises OSError.

    The writer goes on with the same file: it appends, so that a truncated file has no hole.
    """
    if _size(path) <= keep:
        return
    with path.open("r+b") as file:
        file.seek(-keep // 8, os.SEEK_END)
        path.with_name(path.name + ".1").write_bytes(file.read())
        file.truncate(0)


def last_words(data: bytes, lines: int = 8) -> tuple[str, str]:
    """Reason and message of a process that ended: its `failed` event.

    Without one the reason is empty and the message its last lines.
    """
    failed = [event for event in events(data) if event.get("event") == "failed"]
    if failed:
        return str(failed[-1].get("reason") or "Failed"), str(
            failed[-1].get("message") or "it gave no reason"
        )
    errors = [event for event in events(data) if event.get("level") in ("error", "critical", "fatal")]
    text = [line.rstrip() for line in data.decode(errors="replace").splitlines() if line.strip()]
    if errors and text[-1].startswith("{"):
        # What follows an error is how it shut down; a trace on bare lines would be the last word itself.
        text = [json.dumps(event) for event in errors]
    shown = [_plain(line) for line in text[-lines:]]
    return "", "\n".join(f"  {line[:300]}" for line in shown)


def _plain(line: str) -> str:
    """A log line for people: a JSON one as its level and message."""
    for event in events(line.encode()):
        if "message" in event:
            return f"{event.get('level', 'info')}: {event['message']}"
    return line
