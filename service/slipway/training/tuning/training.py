"""Trains: one job from its data to its artifact. Light until it is called."""

import json

from slipway.training.stages import Context
from slipway.training.tuning.jobs import Report, Trained, TrainingJob


def train(job: TrainingJob, context: Context, report: Report | None = None) -> Trained:
    """Train until the job is done; a job that was interrupted goes on from its last checkpoint.

    Args:
        job: what is asked for.
        context: told the progress, the events and a line of metrics for each step; asked whether to stop.
        report: told the metrics after each evaluation; a search prunes by it.

    Raises:
        TuningError: the model, the method, memory or a loss that is no number; the message says the mend.
        DataError: the data cannot be learned from.
        Stopped: the context asked to stop; a checkpoint was written.
    """
    from slipway.training.tuning import plans

    fingerprint = plans.fingerprint(job)
    plan = plans.kept(job.folder, fingerprint)
    if plan is None or not (job.folder / "trained.json").exists():
        from slipway.training.tuning.attempts import attempt

        attempt(job, context, report, fingerprint, plan)
    return _trained(job)


def _trained(job: TrainingJob) -> Trained:
    document = json.loads((job.folder / "trained.json").read_text())
    return Trained(
        artifact=job.artifact if document["saved"] else None,
        kind=document["kind"],
        metrics=document["metrics"],
        steps=document["steps"],
        tokens=document["tokens"],
        seconds=document["seconds"],
        pruned=document["pruned"],
    )
