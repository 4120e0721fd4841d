"""The official Node clients on /v1/responses and /v1/messages, against gateway and engine."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from integration.stack.running import CHAT, EMBED, Stack

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
        ["node", "conversations.mjs", CHAT],
        cwd=NODE,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_responses_whole_and_streamed(seen: Any) -> None:
    responses = seen["responses"]
    assert "Paris" in responses["text"]
    assert "".join(responses["streamed"]) == responses["text"] == responses["final"]
    numbers = [number for number, _ in responses["events"]]
    assert numbers == list(range(len(numbers)))
    assert responses["events"][-1][1] == "response.completed"


def test_responses_are_kept(seen: Any) -> None:
    responses = seen["responses"]
    assert responses["items"] == ["user", "assistant", "user"]
    assert responses["cancelled"] == ["queued", "cancelled"]
    assert responses["deleted"]["kind"] == "NotFoundError"
    assert responses["counted"] > 0


def test_messages_whole_and_streamed(seen: Any) -> None:
    messages = seen["messages"]
    assert "Paris" in messages["text"]
    assert "".join(messages["streamed"]) == messages["text"] == messages["final"]
    assert messages["counted"] > 0
    assert {CHAT, EMBED} <= set(messages["models"])


def test_tools_are_called(seen: Any) -> None:
    assert json.loads(seen["responses"]["tool"]["arguments"]) == {"city": "Paris"}
    assert seen["messages"]["tool"]["input"] == {"city": "Paris"}
    assert seen["messages"]["tool"]["name"] == "get_weather"


def test_errors_become_the_clients_own_kinds(seen: Any) -> None:
    assert seen["messages"]["noModel"]["kind"] == "NotFoundError"
    assert seen["messages"]["noModel"]["id"]
    assert seen["messages"]["wrongKey"]["kind"] == "AuthenticationError"
