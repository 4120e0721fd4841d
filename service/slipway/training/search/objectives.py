"""What a trial does: it trains on the training part and is measured on the validation part."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from slipway.training.runs import Run
from slipway.training.search.spaces import with_parameters
from slipway.training.stages import Context
from slipway.training.tuning.jobs import Report
from slipway.training.workspaces import Workspace


def validation(
    folder: Path,
    document: dict[str, Any],
    report: Report,
    stopping: Callable[[], bool],
) -> Mapping[str, float]:
    """Train with a trial's parameters; what the model reaches on the validation part.

    Args:
        folder: of the trial, two below its run's.
        document: `{"workspace", "parameters"}`.
        report: told the metrics after each evaluation; says whether to go on.
        stopping: whether somebody asked the trial to stop.
    """
    from slipway.training.tuning.stage import job_of
    from slipway.training.tuning.training import train

    workspace, run = Workspace(Path(document["workspace"])), Run(folder.parents[1])
    fine_tune = run.fine_tune()
    hyperparameters = with_parameters(fine_tune.spec.hyperparameters, document["parameters"])
    job = job_of(Context(workspace, run, fine_tune, "train"), hyperparameters, f"trials/{folder.name}/train")
    context = Context(workspace, Run(folder), fine_tune, "train", stopping=stopping)
    # What is told while the base is fetched is the run's; what is told of the training is the trial's.
    return train(replace(job, save=False), context, report).metrics
