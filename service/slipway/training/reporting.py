"""What a stage tells the cluster that it runs on: how far it is, over HTTP, and at its end what came of it.

A Job has no rights at the API server. The operator asks its pod, and reads the pod's termination message.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from slipway.training.runs import Outcome, Run

MOST = 4096
"""Bytes of a termination message that Kubernetes keeps."""
_LONGEST = 1024
"""Characters of a message, and trials of a search, that are never all needed there."""
_SPARE = ("predictions", "report", "base", "intervals", "objective", "gates", "trials", "hyperparameters")
"""Parts of results that the status can do without, the first to go first."""


def serve_progress(run: Run, port: int, host: str = "0.0.0.0") -> ThreadingHTTPServer:  # noqa: S104 - a pod
    """Answer GET /progress with the run's progress as JSON (404 before there is any), and GET /livez.

    The server runs in a thread of its own until `shutdown`.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/livez":
                return self._answer(200, b"ok", "text/plain")
            progress = run.progress() if self.path == "/progress" else None
            if progress is None:
                return self._answer(404, b"{}", "application/json")
            return self._answer(200, progress.model_dump_json().encode(), "application/json")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody wants to read of each look."""

    server = ThreadingHTTPServer((host, port), Handler)
    threading.Thread(target=server.serve_forever, name="progress", daemon=True).start()
    return server


def write_outcome(outcome: Outcome, file: Path) -> None:
    """Write what came of a stage into a container's termination message: at most 4 KiB of JSON."""
    file.write_text(message_of(outcome))


def message_of(outcome: Outcome) -> str:
    """The outcome as JSON of at most 4 KiB: messages are cut, and of results what a status can do without."""
    said = outcome.model_dump(mode="json")
    said["message"] = said["message"][:_LONGEST]
    result = said["result"]
    for name in (None, *_SPARE, *sorted(result, key=lambda each: -len(json.dumps(result[each])))):
        if name == "trials" and isinstance(result.get("trials"), list):
            while result["trials"] and _bytes(said) > MOST:
                result["trials"].pop()
        elif name is not None:
            result.pop(name, None)
        if _bytes(said) <= MOST:
            break
    else:
        said["message"] = said["message"][:256]
    return _text(said)


def redo(run: Run, stage: Any, wish: str) -> None:
    """Let a stage that is done be done again, once for each new `wish`."""
    run.folder.mkdir(parents=True, exist_ok=True)
    mark = run.folder / f"redone-{stage}"
    if mark.exists() and mark.read_text() == wish:
        return
    run.forget(stage)
    mark.write_text(wish)


def _text(said: Any) -> str:
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False)


def _bytes(said: Any) -> int:
    return len(_text(said).encode())
