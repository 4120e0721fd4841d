"""What a FineTune made is brought to running engines, and called by the official client under its name."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from integration.stack.running import CHAT, Stack, write_adapter
from integration.waiting import until
from slipway.objects import FineTune
from slipway.training.registry.records import BaseModelRecord, CodeRecord, Draft
from slipway.training.registry.store import Registry
from slipway.training.runs import Outcome, Run
from slipway.training.workspaces import Workspace

NAME = "support"


def fine_tune(**deploy: Any) -> FineTune:
    return FineTune.model_validate(
        {
            "metadata": {"name": NAME},
            "spec": {
                "baseModel": {"source": "file:///base"},
                "dataset": {"sources": [{"name": "here", "source": "file:///data"}]},
                "deploy": {"service": CHAT, **deploy},
            },
        }
    )


def registered(folder: Path, asked: FineTune, **adapter: int) -> Run:
    """A run whose adapter is in the registry, as the next version."""
    artifact = folder / f"artifact-{len(list(folder.glob('artifact-*')))}"
    write_adapter(artifact, **adapter)
    draft = Draft(
        name=NAME,
        kind="adapter",
        base_model=BaseModelRecord(source="file:///base", name="base"),
        code=CodeRecord(slipway="0"),
    )
    record = Registry.of(Workspace(folder)).register(draft, artifact, lambda *known: "---\n---\n")
    run = Run(folder / "runs" / NAME)
    run.begin(asked)
    result = {"name": NAME, "version": record.version, "digest": record.digest, "uri": artifact.as_uri()}
    run.end(Outcome(stage="register", state="Succeeded", message="", result=result))
    return run


def deploy(stack: Stack, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "slipway.training", "deploy", "--workspace", str(folder), "--run", NAME]
    environment = os.environ | {"SLIPWAY_STATE": str(stack.state)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def answer(stack: Stack, model: str) -> str:
    client = stack.client()
    found = client.completions.create(model=model, prompt="Once upon a time", max_tokens=8, temperature=0)
    return found.choices[0].text


def ready(stack: Stack, model: str) -> bool:
    listed = {each.id: each for each in stack.client().models.list()}
    return model in listed and bool(listed[model].model_dump()["ready"])


def test_versions_follow_each_other_under_one_name(stack: Stack, tmp_path: Path) -> None:
    run = registered(tmp_path, fine_tune(), rank=8)
    done = deploy(stack, tmp_path)
    assert done.returncode == 0, done.stderr
    outcome = run.outcome("deploy")
    assert outcome is not None
    assert outcome.result == {"service": CHAT, "name": NAME, "engineName": f"{NAME}.v1"}
    until(lambda: ready(stack, NAME), f"{NAME} is ready")
    first = answer(stack, NAME)
    assert first != answer(stack, CHAT)

    registered(tmp_path, fine_tune(steps=[{"weight": 50, "pause": "1s"}]), rank=4)
    done = deploy(stack, tmp_path)
    assert done.returncode == 0, done.stderr
    until(lambda: answer(stack, NAME) != first, "the second version answers")
    assert f"{NAME}.v2 gets 50 % of the requests for {NAME}." in [event["message"] for event in run.events()]


@pytest.mark.parametrize(
    ("asked", "adapter", "sentence"),
    [
        ({"service": "nothing"}, {}, "There is no LLMService nothing"),
        ({"service": "minilm"}, {}, "take no adapters: put `--enable-lora` into its engine.args"),
        ({}, {"rank": 64}, "rank is 64, and the engines of smollm2-135m take 16 at most"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_mend(
    asked: dict[str, Any], adapter: dict[str, int], sentence: str, stack: Stack, tmp_path: Path
) -> None:
    run = registered(tmp_path, fine_tune(**asked), **adapter)
    assert deploy(stack, tmp_path).returncode == 1
    outcome = run.outcome("deploy")
    assert outcome is not None
    assert outcome.state == "Failed"
    assert sentence in outcome.message
