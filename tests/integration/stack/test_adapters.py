"""LoRA adapters loaded into a running engine, as the operator will do it."""

import json
from collections.abc import Mapping
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from integration.stack.running import CHAT, Stack, write_adapter


def post(stack: Stack, path: str, body: Mapping[str, object], key: str | None = None) -> tuple[int, str]:
    url, engine_key = stack.engine(CHAT)
    headers = {"content-type": "application/json", "authorization": f"Bearer {key or engine_key}"}
    try:
        with urlopen(Request(url + path, json.dumps(body).encode(), headers)) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def complete(stack: Stack, model: str) -> str:
    prompt = {"model": model, "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}
    status, text = post(stack, "/v1/completions", prompt)
    assert status == 200, text
    return str(json.loads(text)["choices"][0]["text"])


def test_an_adapter_is_loaded_and_unloaded_while_the_engine_serves(stack: Stack, tmp_path: Path) -> None:
    write_adapter(tmp_path / "later")
    loaded = {"lora_name": "later", "lora_path": str(tmp_path / "later")}
    status, text = post(stack, "/v1/load_lora_adapter", loaded)
    assert status == 200, text
    assert complete(stack, "later") != complete(stack, CHAT)
    status, text = post(stack, "/v1/unload_lora_adapter", {"lora_name": "later"})
    assert status == 200, text
    assert post(stack, "/v1/completions", {"model": "later", "prompt": "x", "max_tokens": 1})[0] == 404
