"""A gateway that says what a test tells it to: faults and timings that a real engine will not give."""

import json
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import slipway.gateway
from slipway.gateway.console_files import HEADERS

CONSOLE = Path(slipway.gateway.__file__).parent / "console"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass
class Answer:
    """One answer to a chat completion."""

    pieces: list[str | dict[str, Any]] = field(default_factory=list)
    """Text, or whole events where a test needs another shape."""
    finish: str | None = "stop"
    """None ends the stream as if the connection had broken."""
    usage: bool = True
    status: int = 200
    """Anything else sends `error` as an envelope instead of a stream."""
    error: dict[str, Any] | str | None = None
    """The inside of the envelope; text is sent as it is, without an envelope."""
    headers: dict[str, str] = field(default_factory=dict)
    hold_at: int | None = None
    """Waits before the piece of this index until `Script.release` is called."""


@dataclass
class Asked:
    """A chat completion that the console asked for."""

    body: dict[str, Any]
    headers: Message


@dataclass
class Call:
    """A call of another route than chat completions."""

    method: str
    path: str
    query: dict[str, str]
    body: Any


Reply = tuple[int, Any]
ME = {"kind": "key", "name": "tester", "owner": "tests", "role": "member", "models": ["*"]}
TIMINGS = {"queue_ms": 2.0, "prefill_ms": 118.0, "decode_ms": 1940.0}


def _usual() -> "dict[str, Reply | Callable[[Call], Reply]]":
    return {
        "GET /v1/sign-in": (200, {"oidc": None}),
        "GET /v1/me": (200, ME),
        "GET /v1/requests/": (200, TIMINGS),
    }


@dataclass
class Script:
    """What the gateway says, and what it was asked."""

    models: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"id": "pilot-small", "object": "model", "owned_by": "slipway", "task": "generate"},
            {"id": "pilot-large", "object": "model", "owned_by": "slipway"},
            {"id": "embedder", "object": "model", "owned_by": "slipway", "task": "embed"},
        ]
    )
    key: str | None = None
    """Refuses every other key; None lets everyone in."""
    accepts: Callable[[str], bool] | None = None
    """Decides on the authorization header in place of `key`."""
    connect: str = ""
    """A sign-in provider's origin, which the console may call."""
    readyz: tuple[int, dict[str, Any]] = (200, {"ready": True, "models": []})
    answers: deque[Answer] = field(default_factory=deque)
    """Used up one by one; then every question is answered with an echo."""
    asked: list[Asked] = field(default_factory=list)
    replies: dict[str, Reply | Callable[[Call], Reply]] = field(default_factory=_usual)
    """What other routes answer, by method and path: `GET /v1/me`; one that ends in `/` holds below it."""
    calls: list[Call] = field(default_factory=list)
    """Calls of those routes."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when the console closed the connection in the middle of an answer."""
    _held: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        """Lets a held answer go on."""
        self._held.set()

    def wait(self, connection: socket.socket) -> bool:
        """Waits for `release`. False if the client left first."""
        while not self._held.wait(0.01):
            readable, _, _ = select.select([connection], [], [], 0)
            if readable and not connection.recv(1, socket.MSG_PEEK):
                self.cancelled.set()
                return False
        self._held.clear()
        return True


class ScriptedGateway(ThreadingHTTPServer):
    """Serves the console's folder and a scripted API."""

    daemon_threads = True
    script: Script

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = Script()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ScriptedGateway

    def do_GET(self) -> None:
        script = self.server.script
        path = self.path.partition("?")[0]
        if path == "/v1/models":
            if self._may():
                self._json(200, {"object": "list", "data": script.models})
        elif path == "/readyz":
            self._json(*script.readyz)
        elif path.startswith("/v1/"):
            self._reply(None)
        else:
            self._file(path)

    def do_DELETE(self) -> None:
        self._reply(None)

    def do_PATCH(self) -> None:
        self._reply(json.loads(self._body()))

    def do_POST(self) -> None:
        script = self.server.script
        content = self._body()
        if self.path != "/v1/chat/completions":
            form = (self.headers["content-type"] or "").startswith("multipart/")
            self._reply(content.decode() if form or not content else json.loads(content))
            return
        body = json.loads(content)
        if not self._may():
            return
        script.asked.append(Asked(body, self.headers))
        answer = script.answers.popleft() if script.answers else Answer(["You said: ", _last(body)])
        if answer.status == 200:
            self._stream(answer)
        elif isinstance(answer.error, str):
            self._send(answer.status, "text/html", answer.error.encode(), answer.headers)
        else:
            self._json(answer.status, {"error": answer.error}, answer.headers)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["content-length"] or 0))

    def _reply(self, body: Any) -> None:
        script = self.server.script
        parts = urlsplit(self.path)
        call = Call(self.command, unquote(parts.path), dict(parse_qsl(parts.query)), body)
        name = f"{call.method} {call.path}"
        below = [each for each in script.replies if each.endswith("/") and name.startswith(each)]
        reply = script.replies.get(name) or (script.replies[below[0]] if below else None)
        if call.path != "/v1/sign-in" and not self._may():
            return
        script.calls.append(call)
        if reply is None:
            self._json(404, {"error": {"message": "There is nothing at this path.", "code": "not_found"}})
        else:
            self._json(*(reply(call) if callable(reply) else reply))

    def _may(self) -> bool:
        script = self.server.script
        given = self.headers["authorization"] or ""
        good = script.key is None or given == f"Bearer {script.key}"
        if script.accepts(given) if script.accepts else good:
            return True
        message = "The API key is missing or not valid."
        self._json(
            401, {"error": {"message": message, "type": "authentication_error", "code": "invalid_api_key"}}
        )
        return False

    def _stream(self, answer: Answer) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("x-request-id", f"req-{len(self.server.script.asked)}")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for index, piece in enumerate(answer.pieces):
                if index == answer.hold_at and not self.server.script.wait(self.connection):
                    return
                self._event({"choices": [_choice(piece)]} if isinstance(piece, str) else piece)
            if answer.finish is None:
                return
            self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": answer.finish}]})
            if answer.usage:
                count = len(answer.pieces)
                self._event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": count}})
            self.wfile.write(b"data: [DONE]\n\n")
        except (BrokenPipeError, ConnectionResetError):
            self.server.script.cancelled.set()

    def _event(self, event: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.flush()

    def _file(self, path: str) -> None:
        file = (CONSOLE / (path.lstrip("/") or "index.html")).resolve()
        if not file.is_relative_to(CONSOLE) or not file.is_file() or file.suffix not in TYPES:
            self._json(404, {"error": {"message": "No such page."}})
            return
        self._send(200, TYPES[file.suffix], file.read_bytes())

    def _json(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._send(status, "application/json", json.dumps(body).encode(), headers)

    def _send(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        for name, value in HEADERS.items():
            self.send_header(
                name, value.replace("connect-src 'self'", f"connect-src 'self' {self.server.script.connect}")
            )
        self.send_header("x-content-type-options", "nosniff")
        self.send_header("x-request-id", "req-0")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _last(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def _choice(text: str) -> dict[str, Any]:
    return {"index": 0, "delta": {"content": text}, "finish_reason": None}


@contextmanager
def scripted_gateway() -> Iterator[ScriptedGateway]:
    """Runs the scripted gateway on a free port."""
    with ScriptedGateway() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


if __name__ == "__main__":  # To look at the console by hand: python tests/browser/scripted.py
    with scripted_gateway() as gateway:
        print(gateway.url, flush=True)
        threading.Event().wait()
