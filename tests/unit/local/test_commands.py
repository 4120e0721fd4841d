"""The programs that a local run starts."""

import sys
from pathlib import Path

import pytest

from slipway.local.commands import Installed
from slipway.local.errors import EngineMissingError
from slipway.objects.llmservices import LLMService
from slipway.objects.loading import Loaded, load

SERVICE = """
apiVersion: slipway.dev/v1alpha1
kind: LLMService
metadata: {name: a, labels: {team: x}}
spec:
  model: {source: "hf://x/y", task: embed}
  engine: {env: {A: "ü: 1"}, args: ["--x=[1]"], maxModelLen: 16}
  adapters: [{name: b, source: "s3://x/y"}]
---
"""


def objects(*texts: str) -> Loaded:
    return load("".join(texts).encode(), "f.yaml")


def test_commands_put_the_address_before_the_flags_of_vllm() -> None:
    service: LLMService = objects(SERVICE).services[0]
    commands = Installed({"SLIPWAY_ENGINE_PYTHON": "venv/bin/python"})
    argv = commands.engine(service, 4000)
    assert argv[:4] == [str(Path.cwd() / "venv/bin/python"), "-m", "slipway", "engine"]
    assert argv.index("--port") < argv.index("--") < argv.index("--x=[1]")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (None, "does not exist: make the engines' environment with `make envs`"),
        ("echo vllm slipway", "has no vllm, slipway: make the engines'"),
        ("echo broken >&2; exit 3", r"does not run \(broken\)"),
    ],
)
def test_an_interpreter_that_cannot_run_engines_is_refused(
    tmp_path: Path, script: str | None, said: str
) -> None:
    python = tmp_path / "python"
    if script is not None:
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
    with pytest.raises(EngineMissingError, match=said):
        Installed({"SLIPWAY_ENGINE_PYTHON": str(python)}).check({"vllm"})


def test_only_the_libraries_of_the_runtimes_in_use_are_asked_for() -> None:
    """This environment has neither."""
    here = Installed({"SLIPWAY_ENGINE_PYTHON": sys.executable})
    here.check(())
    with pytest.raises(EngineMissingError, match="has no transformers: "):
        here.check({"transformers"})


def test_an_interpreter_with_all_that_an_engine_needs_is_taken(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho\n")
    python.chmod(0o755)
    Installed({"SLIPWAY_ENGINE_PYTHON": str(python)}).check({"vllm"})
