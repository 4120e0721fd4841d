"""Events and checkpoints of a job as OpenAI's API shows them: pure.

Events come from the job's own times, from what the run wrote (where that can be read) or else from the stages
in the FineTune's status, and from the run's metrics. They are worked out anew each time; ids stay the same.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import orjson

from slipway.gateway.errors import passable
from slipway.gateway.finetuning.places import Record
from slipway.gateway.finetuning.store import Job
from slipway.objects import FineTuneStatus

Shown = dict[str, Any]
_LEVELS = {"info": "info", "warning": "warn", "error": "error"}
_UNTOLD = "Those who run it can see more in its log."


def events(row: Job, status: FineTuneStatus | None, record: Record) -> list[Shown]:
    """All events, the newest first."""
    run = _written(row, record) if record.events else _of_stages(row, status)
    found = [*_beginning(row), *run, *_metrics(row, record)]
    found.sort(key=lambda each: each[0])
    # What the run says of its last step may bear a later time than its end.
    return [shown for _, shown in reversed([*found, *_end(row)])]


def _event(row: Job, number: str, at: float, message: str, level: str = "info", data: Any = None) -> Any:
    return at, {
        "id": f"ftevent-{row.id.removeprefix('ftjob-')}-{number}",
        "object": "fine_tuning.job.event",
        "created_at": int(at),
        "level": level,
        "message": message,
        "data": data if data is not None else {},
        "type": "message" if data is None else "metrics",
    }


def _beginning(row: Job) -> Iterator[Any]:
    created = row.created_us / 1_000_000
    yield _event(row, "j1", created, f"Created fine-tuning job: {row.id}")
    yield _event(row, "j2", created, f"Validating training file: {row.training_file}")
    if row.queued_us is not None:
        yield _event(row, "j3", row.queued_us / 1_000_000, "Files validated; the job is queued")
    if row.started_us is not None:
        yield _event(row, "j4", row.started_us / 1_000_000, "Fine-tuning job started")


def _end(row: Job) -> Iterator[Any]:
    if row.finished_us is None:
        return
    at = row.finished_us / 1_000_000
    if row.status == "succeeded":
        yield _event(row, "j5", at, f"New fine-tuned model created: {row.tuned_model}")
        yield _event(row, "j6", at, "The job has successfully completed")
    elif row.status == "failed":
        told = orjson.loads(row.error)["message"] if row.error else ""
        yield _event(row, "j5", at, f"The job failed: {told}", "error")
    else:
        yield _event(row, "j5", at, "The job was cancelled")


def _written(row: Job, record: Record) -> Iterator[Any]:
    for number, each in enumerate(record.events):
        at, message = each.get("at"), each.get("message")
        if not isinstance(at, str) or not isinstance(message, str):
            continue
        try:
            moment = datetime.fromisoformat(at).timestamp()
        except ValueError:
            continue
        level = _LEVELS.get(str(each.get("level")), "info")
        yield _event(row, f"e{number}", moment, passable(message, _UNTOLD), level)


def _of_stages(row: Job, status: FineTuneStatus | None) -> Iterator[Any]:
    for number, stage in enumerate(status.stages if status is not None else ()):
        if stage.started_at is not None:
            yield _event(row, f"s{number}a", stage.started_at.timestamp(), f"{stage.name} begins.")
        if stage.completed_at is not None:
            message = passable(stage.message, f"{stage.name}: {stage.state}")
            level = "error" if stage.state == "Failed" else "info"
            yield _event(row, f"s{number}b", stage.completed_at.timestamp(), message, level)


def _metrics(row: Job, record: Record) -> Iterator[Any]:
    for number, each in enumerate(record.metrics):
        step, at = each.get("step"), each.get("at")
        if not isinstance(step, int) or not isinstance(at, int | float):
            continue
        data = {"step": step} | _named(each)
        parts = [f"{name.replace('_', ' ')}={value:.4g}" for name, value in data.items() if name != "step"]
        yield _event(row, f"m{number}", at, f"Step {step}: {', '.join(parts)}", data=data)


_NAMES = {
    "loss": "train_loss",
    "accuracy": "train_mean_token_accuracy",
    "eval_loss": "valid_loss",
    "eval_accuracy": "valid_mean_token_accuracy",
}


def _named(metrics: dict[str, Any]) -> dict[str, float]:
    """A line's metrics by OpenAI's names; others keep theirs."""
    return {
        _NAMES.get(name, name): value
        for name, value in metrics.items()
        if name not in ("at", "step") and isinstance(value, int | float) and not isinstance(value, bool)
    }


def checkpoints(row: Job, record: Record) -> list[Shown]:
    """The steps at which the model was judged on the validation part, the newest first."""
    found: dict[int, Shown] = {}
    for each in record.metrics:
        step, at = each.get("step"), each.get("at")
        if "eval_loss" not in each or not isinstance(step, int) or not isinstance(at, int | float):
            continue
        found[step] = {
            "id": f"ftckpt-{row.id.removeprefix('ftjob-')}-{step}",
            "object": "fine_tuning.job.checkpoint",
            "created_at": int(at),
            "fine_tuning_job_id": row.id,
            "fine_tuned_model_checkpoint": f"{row.tuned_model}:ckpt-step-{step}",
            "step_number": step,
            "metrics": {"step": step}
            | {name: value for name, value in _named(each).items() if name in _NAMES.values()},
        }
    return [found[step] for step in sorted(found, reverse=True)]


def after(found: Sequence[Shown], last: str | None, limit: int) -> tuple[list[Shown], bool]:
    """A page behind the one whose id is `last`, and whether there are more behind it.

    Raises ValueError if there is none of this id.
    """
    start = 0
    if last is not None:
        start = next((at + 1 for at, each in enumerate(found) if each["id"] == last), 0)
        if not start:
            raise ValueError(last)
    return list(found[start : start + limit]), len(found) > start + limit
