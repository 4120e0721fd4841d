"""An engine that is told to load an adapter from a source fetches it first."""

import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from slipway.engine.adapters import AdapterSources
from slipway.engine.guard import EngineGuard
from slipway.sources.errors import DigestMismatchError, SourceError, UnreachableError

Message = MutableMapping[str, Any]
LOAD = "/v1/load_lora_adapter"


class Engine:
    """Remembers what was asked."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.lengths: list[bytes] = []

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        self.bodies.append((await receive())["body"])
        self.lengths += [value for name, value in scope["headers"] if name == b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


async def refuse(send: Any, status: int, code: str, message: str) -> None:
    await send({"type": "http.response.start", "status": status, "code": code, "message": message})


async def ask(app: Any, body: bytes, path: str = LOAD) -> Message:
    sent: list[Message] = []
    parts = [body[:5], body[5:]]

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    headers = [(b"content-length", str(len(body)).encode())]
    await app({"type": "http", "method": "POST", "path": path, "headers": headers}, receive, send)
    return sent[0]


def fetching(result: str | SourceError) -> Any:
    def fetch(source: str) -> Path:
        if isinstance(result, SourceError):
            raise result
        return Path(result)

    return fetch


def load(path: str) -> bytes:
    return json.dumps({"lora_name": "a.v1", "lora_path": path}).encode()


async def test_a_source_is_fetched_and_its_folder_loaded() -> None:
    engine = Engine()
    await ask(AdapterSources(engine, refuse, fetching("/cache/1")), load("registry+http://h:1/a/v1"))
    assert json.loads(engine.bodies[0]) == {"lora_name": "a.v1", "lora_path": "/cache/1"}
    assert engine.lengths == [str(len(engine.bodies[0])).encode()]


@pytest.mark.parametrize("body", [load("/models/adapter"), b"not json", b'["a"]', b'{"lora_path": 3}'])
async def test_anything_else_is_for_the_engine_to_answer(body: bytes) -> None:
    engine = Engine()
    await ask(AdapterSources(engine, refuse, fetching("/never")), body)
    assert engine.bodies == [body]


@pytest.mark.parametrize(
    ("error", "status"), [(UnreachableError("away"), 502), (DigestMismatchError("other"), 422)]
)
async def test_what_cannot_be_fetched_is_not_loaded(error: SourceError, status: int) -> None:
    engine = Engine()
    said = await ask(AdapterSources(engine, refuse, fetching(error)), load("hf://a/b"))
    assert (said["status"], said["message"]) == (status, str(error))
    assert engine.bodies == []


async def test_a_body_without_end_is_not_read_to_it() -> None:
    engine = Engine()
    said = await ask(AdapterSources(engine, refuse, fetching("/never")), b"x" * 70_000)
    assert said["status"] == 413
    assert engine.bodies == []


async def test_other_requests_pass_untouched() -> None:
    engine = Engine()
    await ask(AdapterSources(engine, refuse, fetching("/never")), b"x" * 5, "/v1/completions")
    assert engine.bodies == [b"x" * 5]


async def test_the_guard_asks_for_the_key_first(tmp_path: Path) -> None:
    engine = Engine()
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    said = await ask(EngineGuard(engine, "secret"), load(f"file://{tmp_path}"))
    assert said["status"] == 401
    await ask(EngineGuard(engine, ""), load(f"file://{tmp_path}"))
    assert json.loads(engine.bodies[0])["lora_path"] == str(tmp_path)
