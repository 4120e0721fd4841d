"""The whole way: LLMServices with `runtime: transformers` under `slipway up`, asked through the gateway."""

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from integration.stack.running import Stack
from integration.transformers_runtime.engines import Reference
from integration.waiting import free_port

OBJECT = """
apiVersion: slipway.dev/v1alpha1
kind: LLMService
metadata: {{name: {name}}}
spec:
  model: {{source: "file://{folder}", task: {task}}}
  engine: {{runtime: transformers, device: cpu, args: ["--max-num-seqs", "8"]}}
---
"""
PROMPT = "What is the capital of France?"


@pytest.fixture(scope="module")
def stack(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("up")
    file = folder / "slipway.yaml"
    services = (("t5", "generate"), ("bert", "classify"))
    file.write_text(
        "".join(OBJECT.format(name=name, folder=models / name, task=task) for name, task in services)
    )
    stack = Stack(f"http://127.0.0.1:{(port := free_port())}", "", folder / "state", file)
    try:
        up = stack.slipway("up", "-d", "-f", str(file), "--port", str(port))
        assert up.returncode == 0, up.stdout + up.stderr
        yield Stack(stack.url, stack.key_of("local"), stack.state, file)
    finally:
        down = stack.slipway("down")
        assert down.returncode == 0, down.stdout + down.stderr


def test_a_completion_comes_through_the_gateway_whole_and_streamed(
    stack: Stack, reference: Reference
) -> None:
    expected = reference.ask("t5", "generate", text=PROMPT, tokens=24)
    with stack.client() as client:
        whole = client.completions.create(model="t5", prompt=PROMPT, max_tokens=24, temperature=0)
        assert whole.choices[0].text == expected["text"]
        assert whole.usage is not None
        assert whole.usage.completion_tokens == len(expected["ids"])
        stream = client.completions.create(
            model="t5",
            prompt=PROMPT,
            max_tokens=24,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        events = list(stream)
    assert "".join(event.choices[0].text for event in events[:-1]) == expected["text"]
    assert len(events) > 4
    assert events[-1].usage == whole.usage


def test_a_refusal_keeps_its_words_on_the_way(stack: Stack) -> None:
    with stack.client() as client, pytest.raises(openai.BadRequestError, match="logprobs") as caught:
        client.completions.create(model="t5", prompt=PROMPT, logprobs=3)
    assert caught.value.param == "logprobs"


def test_the_status_shows_the_tasks(stack: Stack) -> None:
    services = {each["name"]: each for each in stack.status()["services"]}
    assert {name: (each["task"], each["state"]) for name, each in services.items()} == {
        "t5": ("generate", "Ready"),
        "bert": ("classify", "Ready"),
    }
