"""What the tests of augmentation share: records, a place to work in, a server that writes."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from slipway.training.data.identities import record_id
from slipway.training.errors import Stopped
from slipway.training.records import Record
from slipway.training.workspaces import Workspace


@dataclass
class Work:
    """A running stage, as far as augmentation sees one."""

    workspace: Workspace
    told: list[str] = field(default_factory=list)
    stop_after: int | None = None

    def check(self) -> None:
        if self.stop_after is not None:
            self.stop_after -= 1
            if self.stop_after < 0:
                raise Stopped

    def tell(self, message: str, step: int = 0, total: int | None = None) -> None:
        self.told.append(message)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(Workspace(tmp_path / "workspace"))


def record(**content: Any) -> Record:
    """A record, of the format that its content has."""
    form = "tokens" if "tokens" in content else "chat" if "messages" in content else "classification"
    made: Any = {
        "id": "",
        "format": form,
        "source": "reviews",
        "place": "reviews.jsonl:7",
        "augmented": "",
        "slices": {"city": "Ulm"},
        **content,
    }
    made["id"] = record_id(made)
    return made  # type: ignore[no-any-return]


@dataclass
class Server:
    """An OpenAI-compatible API whose replies a function makes of what it was asked."""

    url: str
    reply: Callable[[dict[str, Any]], str]
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    """Status codes that the next requests get."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server("", lambda body: f"In other words: {body['messages'][-1]['content']}")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if made.failures:
                self.send_response(made.failures.pop(0))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            made.asked.append(body)
            made.keys.append(self.headers["Authorization"])
            answer = {"choices": [{"message": {"role": "assistant", "content": made.reply(body)}}]}
            data = json.dumps(answer).encode()
            self.send_response(200 if self.path == "/v1/chat/completions" else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        made.url = f"http://127.0.0.1:{listening.server_address[1]}/v1"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield made
        finally:
            listening.shutdown()
            thread.join()
