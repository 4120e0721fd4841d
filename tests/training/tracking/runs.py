"""A run with a stage that does what a test wants of it."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from slipway.objects import FineTune
from slipway.training import stages
from slipway.training.runs import Outcome, Run
from slipway.training.stages import Context, Done, run_stage
from slipway.training.workspaces import Workspace

SPEC = {
    "baseModel": {"source": "hf://org/base", "name": "base"},
    "method": "dora",
    "hyperparameters": {"learningRate": "1e-4", "epochs": 2},
    "dataset": {"sources": [{"name": "tickets", "source": "hf://org/tickets"}]},
}


def begun(root: Path, name: str = "support") -> Context:
    """A FineTune whose data is prepared."""
    workspace = Workspace(root)
    run = Run(workspace.run(name))
    asked = FineTune.model_validate({"metadata": {"name": name}, "spec": SPEC})
    run.begin(asked)
    run.end(Outcome(stage="prepare", state="Succeeded", message="", result={"dataset": "support/d1"}))
    return Context(workspace, run, asked, "train")


def do(context: Context, monkeypatch: pytest.MonkeyPatch, work: Callable[[Context], Done]) -> Outcome:
    """Do the context's stage by `work`."""
    module: Any = ModuleType("tests_work")
    module.work = work
    monkeypatch.setitem(sys.modules, "tests_work", module)
    monkeypatch.setitem(stages.WORK, context.stage, "tests_work")
    return run_stage(context)


def warnings(run: Run) -> list[str]:
    """What the run warns of."""
    return [event["message"] for event in run.events() if event["level"] == "warning"]
