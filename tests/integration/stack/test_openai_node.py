"""The official Node client against gateway and engine."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from integration.stack.running import CHAT, EMBED, TUNED, Stack
from integration.waiting import until

NODE = Path(__file__).parent / "node"


@pytest.fixture(scope="module")
def seen(stack: Stack) -> Any:
    """What one run of the Node program saw."""
    installed = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund"], cwd=NODE, capture_output=True, text=True, check=False
    )
    assert installed.returncode == 0, installed.stderr
    environ = {**os.environ, "SLIPWAY_URL": stack.url, "SLIPWAY_API_KEY": stack.key}
    ran = subprocess.run(
        ["node", "clients.mjs", CHAT, EMBED],
        cwd=NODE,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_chats_and_streams_the_same(seen: Any) -> None:
    assert "Paris" in seen["chat"]
    assert "".join(seen["streamed"]) == seen["chat"]
    assert len(seen["streamed"]) > 3


def test_calls_a_tool_and_fits_a_schema(seen: Any) -> None:
    assert seen["tool"]["name"] == "get_weather"
    assert json.loads(seen["tool"]["arguments"]) == {"city": "Paris"}
    assert isinstance(seen["shaped"]["big"], bool)


def test_embeds_in_the_clients_own_encoding(seen: Any) -> None:
    assert seen["embeddings"] == [384, 384]


def test_lists_models(seen: Any) -> None:
    assert set(seen["models"]) >= {CHAT, EMBED, TUNED}


def test_errors_become_the_clients_own_kinds(seen: Any) -> None:
    assert seen["wrongKey"]["kind"] == "AuthenticationError"
    assert seen["noModel"]["kind"] == "NotFoundError"
    assert seen["noModel"]["code"] == "model_not_found"
    assert seen["badParameter"]["kind"] == "BadRequestError"
    assert seen["badParameter"]["param"] == "temperature"
    assert seen["badParameter"]["id"]
    assert seen["timeout"]["kind"] == "APIConnectionTimeoutError"


def test_what_was_aborted_or_timed_out_no_longer_runs(stack: Stack, seen: Any) -> None:
    assert seen["aborted"]
    until(lambda: stack.running_requests(CHAT) == 0, "the engine has dropped it", 10)
