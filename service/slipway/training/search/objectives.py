"""What a trial does: it trains on the training part and is measured on the validation part."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slipway.training.runs import Run
from slipway.training.search.spaces import with_parameters
from slipway.training.stages import Context
from slipway.training.workspaces import Workspace


def validation(
    folder: Path,
    document: dict[str, Any],
    report: Callable[[int, dict[str, float]], bool],
    stopping: Callable[[], bool],
) -> Mapping[str, float]:
    """Train by a trial's document (`described`); what the model reaches on the validation part."""
    from slipway.training.data.versions import DatasetVersion
    from slipway.training.tuning.jobs import TrainingJob
    from slipway.training.tuning.training import train

    workspace = Workspace(Path(document["workspace"]))
    fine_tune = Run(workspace.run(document["run"])).fine_tune()
    spec = fine_tune.spec
    job = TrainingJob(
        base=Path(document["base"]),
        base_source=document["base_source"],
        base_digest=document["base_digest"],
        dataset=DatasetVersion.open(workspace, document["dataset"]),
        task=spec.task,
        method=spec.method,
        hyperparameters=with_parameters(spec.hyperparameters, document["parameters"]),
        folder=folder / "train",
        save=False,
    )
    context = Context(workspace, Run(folder), fine_tune, "train", stopping=stopping)
    return train(job, context, report).metrics
