"""`slipway chat` and `slipway models` against a small server."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from slipway.cli import main
from slipway.cli.chat import Chat, converse
from slipway.cli.client import Gateway
from slipway.local.folders import StateFolder

MODELS: list[dict[str, Any]] = [
    {"id": "e1", "task": "embed", "ready": True},
    {"id": "m1", "task": "generate", "ready": False},
    {"id": "m2", "parent": "m1"},
]


@dataclass
class Server:
    """Answers with what it is given, and keeps what it was asked."""

    status: int = 200
    body: bytes = b""
    url: str = ""
    models: list[dict[str, Any]] = field(default_factory=lambda: list(MODELS))
    held: threading.Event = field(default_factory=threading.Event)
    """An answer's last line is sent when this is set."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


def events(*pieces: str, end: str = "data: [DONE]\n\n") -> bytes:
    chunks = [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]
    usage = {"choices": [], "usage": {"total_tokens": 3}}
    return (": hi\n\n" + "".join(f"data: {json.dumps(c)}\n\n" for c in [*chunks, usage]) + end).encode()


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server(body=events("Par", "is."))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(json.dumps({"data": state.models}).encode())

        def do_POST(self) -> None:
            state.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer(state.body)

        def answer(self, body: bytes) -> None:
            state.keys.append(self.headers.get("Authorization"))
            self.send_response(state.status)
            self.end_headers()
            body = state.body if state.status != 200 else body
            head, cut, last = body.rpartition(b"data: [DONE]")
            self.wfile.write(head)
            self.wfile.flush()
            state.held.wait(30)
            self.wfile.write(cut + last)

        def log_message(self, format: str, *args: object) -> None:
            pass

    state.held.set()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def slipway(server: Server, *arguments: str, piped: str = "") -> Result:
    env = {"SLIPWAY_URL": server.url, "SLIPWAY_API_KEY": "sk-x", "SLIPWAY_STATE": "/nonexistent"}
    return CliRunner().invoke(main, arguments, env=env, input=piped)


def test_one_question_is_answered_by_the_first_model(server: Server) -> None:
    shown = slipway(
        server, "chat", "-m", "Where?", "--system", "Be brief.", "--max-tokens", "5", "--temperature", "0"
    )
    assert (shown.exit_code, shown.stdout) == (0, "Paris.\n")
    assert server.asked == [
        {
            "model": "m1",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where?"}],
            "temperature": 0.0,
            "max_completion_tokens": 5,
            "stream": True,
        }
    ]
    assert server.keys == ["Bearer sk-x", "Bearer sk-x"]


def test_piped_text_is_one_message(server: Server) -> None:
    shown = slipway(server, "chat", "m2", piped="a\ntext\n")
    assert (shown.exit_code, shown.stdout) == (0, "Paris.\n")
    assert server.asked[0]["model"] == "m2"
    assert server.asked[0]["messages"] == [{"role": "user", "content": "a\ntext"}]


def test_with_a_message_the_input_is_left_alone(server: Server) -> None:
    assert slipway(server, "chat", "m2", "-m", "Where?", piped="a text\n").exit_code == 0
    assert server.asked[0]["messages"] == [{"role": "user", "content": "Where?"}]


def test_the_answer_is_shown_as_it_comes(server: Server) -> None:
    server.body = events("Par")
    server.held.clear()
    pieces = Gateway(server.url, None).chat({})
    assert next(pieces) == "Par", "the server has not ended its answer yet"
    server.held.set()
    assert list(pieces) == []


def test_nothing_asked_is_said(server: Server) -> None:
    shown = slipway(server, "chat", "m2")
    assert shown.exit_code == 1
    assert "Nothing was asked" in shown.output


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (429, b'{"error": {"message": "Too many requests: try again in 3 s."}}',
         "Error: Too many requests: try again in 3 s. (429)"),
        (502, b"<html>", "Error: Bad Gateway (502)"),
        (200, events("Pa", end=""), "Error: The answer was cut off: the gateway closed the connection."),
        (200, events("Pa", end='data: {"error": {"message": "It ended."}}\n\n'), "Error: It ended."),
        (200, b"data: nonsense\n\n", "Error: The answer was cut off"),
        (200, b"data: [1]\n\n", "Error: The answer was cut off"),
    ],
)  # fmt: skip
def test_errors_are_sentences(server: Server, status: int, body: bytes, said: str) -> None:
    server.status, server.body = status, body
    shown = slipway(server, "chat", "m1", "-m", "Where?")
    assert shown.exit_code == 1
    assert said in shown.output
    assert "Traceback" not in shown.output


def test_models_are_listed(server: Server) -> None:
    shown = slipway(server, "models")
    assert [line.split() for line in shown.output.splitlines()] == [
        ["MODEL", "TASK", "READY", "PARENT"],
        ["e1", "embed", "yes", "-"],
        ["m1", "generate", "no", "-"],
        ["m2", "-", "-", "m1"],
    ]
    assert json.loads(slipway(server, "models", "-o", "json").output) == MODELS


def test_without_a_name_the_first_model_that_chats_is_asked(server: Server) -> None:
    assert slipway(server, "chat", "-m", "Where?").exit_code == 0
    assert server.asked[0]["model"] == "m1"
    server.models = MODELS[:1]
    none = slipway(server, "chat", "-m", "Where?")
    assert none.exit_code == 1
    assert "none can chat: e1." in none.output


def test_a_conversation_with_a_model_that_cannot_answer_is_not_begun(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: True, raising=False)
    for name, said in {
        "m1x": "no model m1x that this key may call; did you mean m1?",
        "other": "`slipway models` lists those that there are.",
        "e1": "The model e1 cannot chat.",
    }.items():
        shown = slipway(server, "chat", name)
        assert shown.exit_code == 1
        assert said in shown.output
    assert slipway(server, "chat", "m2").exit_code == 0
    assert server.asked == []


def test_the_runs_own_key_never_goes_to_another_address(server: Server, tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    state.create()
    state.write_secret("apikey-local", "sk-own")
    state.write_json(state.status, {"gateway": {"url": "http://127.0.0.1:1"}})
    env = {"SLIPWAY_STATE": str(state.root)}
    CliRunner().invoke(main, ["models", "--url", server.url], env=env)
    assert server.keys == [None]
    state.write_json(state.status, {"gateway": {"url": server.url}})
    CliRunner().invoke(main, ["models"], env=env)
    assert server.keys == [None, "Bearer sk-own"]


def typed(*lines: str | type[BaseException]) -> Callable[[], str]:
    left = iter(lines)

    def read() -> str:
        line = next(left, EOFError)
        if isinstance(line, str):
            return line
        raise line

    return read


def test_a_conversation_remembers_and_outlives_ctrl_c_and_errors(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    chat = Chat(Gateway(server.url, None), "m1", system="Be brief.")
    converse(chat, typed("Where?", KeyboardInterrupt, "  ", "Sure?"))
    assert [message["content"] for message in server.asked[1]["messages"]] == [
        *("Be brief.", "Where?", "Paris.", "Sure?")
    ]
    server.status, server.body = 500, b'{"error": {"message": "Broken."}}'
    converse(chat, typed("Again?"))
    server.status, server.body = 200, events("Yes.")
    converse(chat, typed("Now?"))
    roles = [message["role"] for message in server.asked[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"], "a failed turn is forgotten"
    assert "Error: Broken. (500)" in capsys.readouterr().err


class Interrupted(Gateway):
    """A gateway whose answer is stopped by Ctrl-C in its middle."""

    def chat(self, body: dict[str, Any]) -> Iterator[str]:
        yield "Par"
        raise KeyboardInterrupt


def test_ctrl_c_stops_the_answer_and_keeps_what_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    chat = Chat(Interrupted("http://x", None), "m1")
    assert chat.ask("Where?") is False
    assert capsys.readouterr().out == "Par\n"
