"""Trains in a test, and looks at what came of it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from slipway.objects import FineTune
from slipway.objects.hyperparameters import Hyperparameters
from slipway.training.runs import Run
from slipway.training.stages import Context
from slipway.training.tuning.jobs import Report, Trained, TrainingJob
from slipway.training.tuning.training import train
from slipway.training.workspaces import Workspace

QUICK = {
    "epochs": 2,
    "batchSize": 4,
    "learningRate": "1e-2",
    "precision": "float32",
    "loraRank": 4,
    "maxLength": 128,
}
_ASKED = {
    "metadata": {"name": "sample"},
    "spec": {
        "baseModel": {"source": "file:///base"},
        "dataset": {"sources": [{"name": "here", "source": "file:///data"}]},
    },
}


@dataclass(slots=True)
class Attempt:
    """A workspace with one run."""

    root: Path
    stopping: Callable[[], bool] = field(default=lambda: False)

    @property
    def run(self) -> Run:
        """The run's files."""
        found = Run(self.root / "runs" / "sample")
        found.folder.mkdir(parents=True, exist_ok=True)
        return found

    @property
    def context(self) -> Context:
        """As a stage gets it."""
        asked = FineTune.model_validate(_ASKED)
        return Context(Workspace(self.root), self.run, asked, "train", stopping=self.stopping)

    def job(
        self, base: Path, dataset: Any, task: Any = "generate", method: Any = "lora", **settings: Any
    ) -> TrainingJob:
        """A job of quick hyperparameters; `settings` are more of them."""
        hyperparameters = Hyperparameters.model_validate(QUICK | settings)
        return TrainingJob(base, dataset, task, method, hyperparameters, self.run.folder / "train")

    def train(self, job: TrainingJob, report: Report | None = None, **changed: Any) -> Trained:
        """Train it."""
        return train(replace(job, **changed), self.context, report)

    def losses(self) -> list[float]:
        """Of each step."""
        return [line["loss"] for line in self.run.metrics() if "loss" in line]

    def said(self) -> str:
        """All events."""
        return "\n".join(event["message"] for event in self.run.events())


def weights(trained: Trained) -> dict[str, bytes]:
    """The bytes of an artifact's tensors."""
    assert trained.artifact is not None
    (path,) = trained.artifact.glob("*.safetensors")
    return {name: tensor.numpy().tobytes() for name, tensor in load_file(path).items()}
