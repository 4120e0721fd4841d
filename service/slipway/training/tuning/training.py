"""Trains: one job from its data to its artifact."""

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
        Stopped: the context asked to stop; a checkpoint was written.
    """
    raise NotImplementedError
