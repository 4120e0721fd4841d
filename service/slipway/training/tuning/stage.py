"""The stage `train`: the base model is fetched, the prepared data learned, an artifact left."""

from typing import Any

from slipway.objects.hyperparameters import Hyperparameters
from slipway.training.errors import TuningError
from slipway.training.stages import Context, Done
from slipway.training.tuning.jobs import TrainingJob
from slipway.training.tuning.training import train


def work(context: Context) -> Done:
    """Do it; see `stages`."""
    job = job_of(context, chosen(context))
    trained = train(job, context)
    if trained.artifact is None:
        raise TuningError("The training left nothing.")
    figures = ", ".join(f"{name} {value:.4g}" for name, value in sorted(trained.metrics.items()))
    return Done(
        f"Trained {trained.steps} steps, {trained.tokens} tokens in {trained.seconds:.0f} s: {figures}.",
        {
            "artifact": str(trained.artifact.relative_to(context.workspace.root)),
            "kind": trained.kind,
            "metrics": trained.metrics,
            "hyperparameters": job.hyperparameters.model_dump(mode="json", by_alias=True),
            "steps": trained.steps,
            "tokens": trained.tokens,
            "seconds": trained.seconds,
        },
    )


def chosen(context: Context) -> Hyperparameters:
    """The hyperparameters that were asked for, with those that a search found."""
    asked = context.fine_tune.spec.hyperparameters
    if context.fine_tune.spec.search is None:
        return asked
    found: dict[str, Any] = context.result("search")["hyperparameters"]
    return Hyperparameters.model_validate(asked.model_dump(mode="json", by_alias=True) | found)


def job_of(context: Context, hyperparameters: Hyperparameters, folder: str = "train") -> TrainingJob:
    """The job of a FineTune whose data is prepared, in a folder of its run.

    Raises:
        TuningError: the base model cannot be fetched.
        TrainingError: the data is not prepared.
    """
    from slipway.sources import SourceError, fetch
    from slipway.training.data.versions import DatasetVersion

    spec = context.fine_tune.spec
    dataset = DatasetVersion.open(context.workspace, context.result("prepare")["dataset"])
    try:
        base = fetch(
            spec.base_model.source,
            progress=lambda progress: context.tell(f"Fetching the base model: {progress.message}"),
        )
    except SourceError as error:
        raise TuningError(str(error), "BaseModelNotFetched") from error
    return TrainingJob(
        base=base.path,
        dataset=dataset,
        task=spec.task,
        method=spec.method,
        hyperparameters=hyperparameters,
        folder=context.run.folder / folder,
        base_source=base.resolved,
        base_digest=base.digest,
    )
