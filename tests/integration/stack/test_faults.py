"""What a user sees when an engine dies, and how it comes back."""

import json
import os
import signal
from pathlib import Path
from urllib.request import Request, urlopen

import openai
import pytest

from integration.stack.running import CHAT, EMBED, Stack
from integration.waiting import until


def engine_pid(stack: Stack) -> int:
    for service in stack.status()["services"]:
        if service["name"] == CHAT:
            return int(service["processes"][0]["pid"])
    raise AssertionError(f"{CHAT} is not in the status")


def engine_log(stack: Stack) -> str:
    return "".join(log.read_text() for log in (stack.state / "logs").glob(f"{CHAT}*"))


def descendants(pid: int) -> list[int]:
    children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir()
                for child in (task / "children").read_text().split()]  # fmt: skip
    return children + [below for child in children for below in descendants(child)]


def victims(stack: Stack, which: str) -> list[int]:
    server = engine_pid(stack)
    return [server] if which == "server" else descendants(server)[-1:]


def ready(stack: Stack) -> bool:
    status, body = stack.get("/readyz")
    return status == 200 and all(model["ready"] for model in body["models"])


@pytest.mark.parametrize("which", ["server", "worker"])
def test_an_engine_killed_in_the_middle_of_a_stream(stack: Stack, which: str) -> None:
    until(lambda: ready(stack), "ready before the fault")
    body = {
        "model": CHAT,
        "messages": [{"role": "user", "content": "Tell me a long story."}],
        "stream": True,
        "max_tokens": 1500,
        "ignore_eos": True,
    }
    headers = {"authorization": f"Bearer {stack.key}", "content-type": "application/json"}
    with urlopen(Request(f"{stack.url}/v1/chat/completions", json.dumps(body).encode(), headers)) as answer:
        assert answer.readline().startswith(b"data: {")
        for pid in victims(stack, which):
            os.kill(pid, signal.SIGKILL)
        events = [line for line in answer.read().splitlines() if line.startswith(b"data: ")]

    # The client is told, in a form that its library raises as an error, and not that all is well.
    assert b"[DONE]" not in events
    error = json.loads(events[-1].removeprefix(b"data: "))["error"]
    assert error["type"] == "server_error" or error["code"]
    assert stack.get("/livez")[0] == 200

    # The gateway tells the truth meanwhile: this model is not there, the other one is.
    def missing() -> bool:
        return any(
            model["name"] == CHAT and not model["ready"] for model in stack.get("/readyz")[1]["models"]
        )

    until(missing, "readyz says that the model is away")
    if which == "worker":  # The server ends by itself, and says that it did not mean to.
        until(lambda: "EngineDied" in engine_log(stack), "the engine tells why it ended")
    with pytest.raises(openai.APIStatusError) as refused:
        stack.client().completions.create(model=CHAT, prompt="Hello", max_tokens=2)
    assert refused.value.status_code == 503
    assert int(refused.value.response.headers["retry-after"]) > 0
    assert stack.client().embeddings.create(model=EMBED, input="still here").data

    # It comes back by itself.
    until(lambda: ready(stack), "the engine is back", 120)
    again = stack.client().chat.completions.create(
        model=CHAT, messages=[{"role": "user", "content": "What is the capital of France?"}], temperature=0
    )
    assert "Paris" in (again.choices[0].message.content or "")


def test_the_official_client_raises_what_the_stream_tells(stack: Stack) -> None:
    until(lambda: ready(stack), "ready before the fault", 120)
    stream = stack.client().chat.completions.create(
        model=CHAT,
        messages=[{"role": "user", "content": "Tell me a long story."}],
        stream=True,
        max_tokens=1500,
        extra_body={"ignore_eos": True},
    )
    next(stream)
    os.kill(engine_pid(stack), signal.SIGKILL)
    with pytest.raises(openai.APIError):
        list(stream)
    until(lambda: ready(stack), "the engine is back", 120)
