"""What models have made, kept in the workspace: a restart pays for none of it twice."""

import sqlite3
import threading
from contextlib import closing
from hashlib import sha256
from pathlib import Path


class Kept:
    """Texts by what they were made of. Threads and processes may share one file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, timeout=60, check_same_thread=False, isolation_level=None)
        # A power cut may lose the last texts, which are then made again.
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS made (key BLOB PRIMARY KEY, text TEXT) WITHOUT ROWID"
        )

    def get(self, *made_of: object) -> str | None:
        """The text that was made of this; None if none was."""
        with self._lock, closing(self._database.execute(_SELECT, [_key(made_of)])) as rows:
            row = rows.fetchone()
        return None if row is None else row[0]

    def put(self, text: str, *made_of: object) -> None:
        """Keep a text."""
        with self._lock:
            self._database.execute("INSERT OR REPLACE INTO made VALUES (?, ?)", [_key(made_of), text])

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


_SELECT = "SELECT text FROM made WHERE key = ?"


def _key(made_of: tuple[object, ...]) -> bytes:
    return sha256(repr(made_of).encode("utf-8", "surrogatepass")).digest()
