"""What an engine tells whoever started it: one JSON object a line on standard error."""

import json
import logging
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any, TextIO

WRITING = threading.RLock()
"""Held for each line; a thread that ends the process holds it, so that its line stays the last."""


def write(event: str, message: str, *, level: str = "info", to: TextIO | None = None, **fields: Any) -> None:
    """Write one line: `ts`, `level`, `event`, `message` and the given fields."""
    line = {"ts": _timestamp(time.time()), "level": level, "event": event, "message": message, **fields}
    stream = to or sys.stderr
    with WRITING:
        stream.write(json.dumps(line, default=str) + "\n")
        stream.flush()


def progress(
    stage: str, message: str, *, done: int | None = None, total: int | None = None, unit: str | None = None,
    eta_s: float | None = None,
) -> None:  # fmt: skip
    """Report how far a stage of the start is: resolve, download, convert, import or load."""
    eta = None if eta_s is None else round(eta_s, 1)
    write("progress", message, stage=stage, done=done, total=total, unit=unit, eta_s=eta)


def failed(reason: str, message: str) -> None:
    """Report a start that failed: one CamelCase word for machines, a sentence with the mend for people."""
    write("failed", message, level="error", reason=reason)


class JsonFormatter(logging.Formatter):
    """Records of the logging module as lines of the same form, `event: "log"`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": _timestamp(record.created),
            "level": record.levelname.lower(),
            "event": "log",
            "message": record.getMessage(),
            "logger": record.name,
            "process": record.processName,
            "pid": record.process,
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(level: int = logging.INFO) -> None:
    """Send all records, vLLM's and uvicorn's too, to standard error as JSON."""
    logging.captureWarnings(True)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("vllm", "slipway", "uvicorn"):
        logging.getLogger(name).setLevel(level)


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
