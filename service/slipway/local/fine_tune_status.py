"""What the files of a run say of its FineTune, in the words of the operator."""

from datetime import UTC, datetime
from typing import Any

from slipway.local.training import is_cancelled
from slipway.objects import FineTune, FineTuneStatus
from slipway.objects.finetunes import ArtifactStatus, FineTuneProgress, Stage, StageStatus
from slipway.training.runs import Outcome, Progress, Run

_PHASES = {
    "prepare": "Preparing",
    "search": "Searching",
    "train": "Training",
    "evaluate": "Evaluating",
    "register": "Registering",
    "deploy": "Deploying",
}


def observed(fine_tune: FineTune, run: Run, *, running: bool) -> FineTuneStatus:
    """How a FineTune stands; `running`: a process works on it."""
    stages = tuple(_stage(run, stage) for stage in fine_tune.stages)
    done = {stage: outcome for stage in fine_tune.stages if (outcome := run.outcome(stage)) is not None}
    waiting = next((at for at, stage in enumerate(stages) if stage.state != "Succeeded"), None)
    progress = None
    if waiting is not None and stages[waiting].state == "Failed" and not running:
        phase = "Failed"
    elif waiting is None:
        phase = "Succeeded"
    else:
        phase, progress = _open(fine_tune, run, stages[waiting].name, running=running)
        now = {"Cancelled": "Cancelled", "Suspended": "Suspended", "Pending": "Waiting"}.get(phase, "Running")
        stages = tuple(
            each.model_copy(update={"state": now}) if at == waiting else each
            for at, each in enumerate(stages)
        )
    ended = [stage.completed_at for stage in stages if stage.completed_at is not None]
    return FineTuneStatus.model_validate(
        {
            "phase": phase,
            "progress": progress,
            "stages": stages,
            "dataset": _result(done, "prepare").get("dataset"),
            "metrics": _metrics(done),
            "artifact": _artifact(done),
            "adapter": _result(done, "deploy").get("engineName"),
            "started_at": min((stage.started_at for stage in stages if stage.started_at), default=None)
            or (_began(run) if running or stages[0].state != "Waiting" else None),
            "completed_at": max(ended, default=None) if phase in ("Failed", "Succeeded") else None,
        }
    )


def _stage(run: Run, stage: Stage) -> StageStatus:
    outcome = run.outcome(stage)
    if outcome is None:
        return StageStatus(name=stage)
    ended = (run.folder / f"{stage}.json").stat().st_mtime
    return StageStatus(
        name=stage,
        state=outcome.state,
        attempts=1,
        reason=outcome.reason,
        message=outcome.message,
        started_at=datetime.fromtimestamp(ended - outcome.seconds, UTC),
        completed_at=datetime.fromtimestamp(ended, UTC),
    )


def _open(
    fine_tune: FineTune, run: Run, stage: Stage, *, running: bool
) -> tuple[str, FineTuneProgress | None]:
    """Phase and progress of one that has not ended."""
    if running:
        told = run.progress()
        return _PHASES[stage], None if told is None or told.stage != stage else _progress(told)
    if fine_tune.spec.cancel or is_cancelled(run):
        return "Cancelled", None
    return ("Suspended" if fine_tune.spec.suspend else "Pending"), None


def _progress(told: Progress) -> FineTuneProgress:
    eta = told.eta_seconds
    return FineTuneProgress(
        step=told.step,
        total_steps=told.total_steps,
        eta_seconds=None if eta is None else round(eta),
        message=told.message,
        steps=f"{told.step}/{told.total_steps}" if told.total_steps else "",
        metrics={name: f"{value:.6g}" for name, value in told.metrics.items()},
    )


def _began(run: Run) -> datetime | None:
    try:
        return datetime.fromtimestamp((run.folder / "finetune.yaml").stat().st_mtime, UTC)
    except FileNotFoundError:
        return None


def _result(done: dict[Stage, Outcome], stage: Stage) -> dict[str, Any]:
    outcome = done.get(stage)
    return outcome.result if outcome is not None else {}


def _metrics(done: dict[Stage, Outcome]) -> dict[str, str]:
    trained, judged = _result(done, "train"), _result(done, "evaluate")
    found = {**trained.get("metrics", {}), **judged.get("metrics", {})}
    metrics = {name: f"{value:.6g}" for name, value in found.items() if isinstance(value, int | float)}
    tokens = trained.get("tokens")
    return metrics | ({"tokens": str(tokens)} if isinstance(tokens, int) else {})


def _artifact(done: dict[Stage, Outcome]) -> ArtifactStatus | None:
    made = _result(done, "register")
    if "uri" not in made:
        return None
    return ArtifactStatus(
        uri=made["uri"],
        kind=_result(done, "train").get("kind"),
        version=made.get("version"),
        digest=made.get("digest"),
        model_card=made.get("modelCard"),
    )
