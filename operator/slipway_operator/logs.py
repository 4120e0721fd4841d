"""The operator's log: one JSON object a line."""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO


@dataclass(frozen=True, slots=True)
class Log:
    """Writes to a stream."""

    stream: TextIO

    def write(self, level: str, event: str, message: str, **fields: Any) -> None:
        """One line: `ts`, `level`, `event`, `message` and the given fields."""
        ts = datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        line = {"ts": ts, "level": level, "event": event, "message": message, **fields}
        self.stream.write(json.dumps(line, default=str) + "\n")
        self.stream.flush()
