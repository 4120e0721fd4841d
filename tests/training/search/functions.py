"""Searches of functions that are known, instead of trainings."""

import math
from asyncio import Event
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slipway.objects import FineTune
from slipway.objects.hyperparameters import Hyperparameters, SearchSpec
from slipway.training.runs import Run
from slipway.training.search.searching import Search
from slipway.training.search.spaces import Space
from slipway.training.search.studies import Assignment, Ended, Study
from slipway.training.search.trials import Trial
from slipway.training.stages import Context
from slipway.training.workspaces import Workspace

RANGES = [
    {"name": "learningRate", "min": "1e-5", "max": "1e-1", "scale": "log"},
    {"name": "loraDropout", "min": "0", "max": "0.5"},
    {"name": "loraRank", "min": "1", "max": "64", "scale": "log"},
]
POINTS = [
    {"name": "learningRate", "values": ["1e-4", "1e-3", "1e-2"]},
    {"name": "loraRank", "values": ["4", "16"]},
]


def spec(**asked: Any) -> SearchSpec:
    """A search, over `RANGES` if nothing else is asked for."""
    return SearchSpec.model_validate({"parameters": RANGES, "pruning": "none", **asked})


def loss(parameters: Mapping[str, str], evaluation: int = 1, of: int = 1) -> float:
    """Falls to the distance from a learning rate of 1e-3, a dropout of 0.1 and a rank of 16."""
    rate = math.log10(float(parameters.get("learningRate", "1e-3"))) + 3
    dropout = float(parameters.get("loraDropout", "0.1")) - 0.1
    rank = math.log2(float(parameters.get("loraRank", "16"))) - 4
    return rate**2 + 20 * dropout**2 + 0.1 * rank**2 + (of - evaluation) / of


class Function:
    """Does trials by a function of their parameters, and counts the evaluations."""

    def __init__(
        self,
        evaluations: int = 1,
        value: Callable[[Mapping[str, str], int, int], float] = loss,
    ) -> None:
        self._evaluations, self._value = evaluations, value
        self.asked = 0

    async def __call__(
        self,
        assignment: Assignment,
        place: int,
        report: Callable[[int, Mapping[str, float]], bool],
        stop: Event,
    ) -> Ended | None:
        metrics: dict[str, float] = {}
        for evaluation in range(1, self._evaluations + 1):
            self.asked += 1
            metrics = {"eval_loss": self._value(assignment.parameters, evaluation, self._evaluations)}
            if not report(evaluation, metrics):
                return Ended("Stopped", metrics)
        return Ended("Succeeded", metrics)


def searched(
    folder: Path, asked: SearchSpec, perform: Function | None = None, evaluations: int = 1
) -> list[Trial]:
    """The trials of a search in `folder`, which goes on where it was."""
    base = Hyperparameters(epochs=evaluations)
    study = Study(folder / "study.log", asked, Space.of(asked, base), "test")
    return Search(study, perform or Function(evaluations), parallelism=asked.parallelism).run()


def context(
    root: Path, search: Mapping[str, Any], base: str = "file:///nowhere", **hyperparameters: Any
) -> Context:
    """Of the stage `search` of a FineTune whose data is prepared."""
    workspace = Workspace(root)
    run = Run(workspace.run("tuned"))
    fine_tune = FineTune.model_validate(
        {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "FineTune",
            "metadata": {"name": "tuned"},
            "spec": {
                "baseModel": {"source": base},
                "dataset": {"sources": [{"name": "rows", "source": "file:///rows.jsonl"}]},
                "search": search,
                "hyperparameters": hyperparameters,
            },
        }
    )
    run.begin(fine_tune)
    return Context(workspace, run, fine_tune, "search")
