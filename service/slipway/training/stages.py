"""Runs one stage of a FineTune: looks whether it is done already, does it, writes down what came of it."""

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from slipway.objects import FineTune
from slipway.objects.finetunes import ASKED, Stage
from slipway.training.errors import Stopped, TrainingError
from slipway.training.runs import STAGES, Outcome, Progress, Run
from slipway.training.tracking.recording import recording
from slipway.training.workspaces import Workspace

WORK: dict[Stage, str] = {
    "prepare": "slipway.training.data.stage",
    "search": "slipway.training.search.stage",
    "train": "slipway.training.tuning.stage",
    "evaluate": "slipway.training.evaluation.stage",
    "register": "slipway.training.registry.stage",
    "deploy": "slipway.training.deploying",
}
"""The module of each stage; its function `work(context)` returns what is `Done`."""

_EVERY = 0.5
"""Seconds between two writes of the progress."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a stage has to say."""

    message: str
    """A sentence for people."""
    result: dict[str, Any] = field(default_factory=dict)
    """What later stages and the status need; JSON."""


@dataclass(slots=True)
class Context:
    """What a stage works with."""

    workspace: Workspace
    run: Run
    fine_tune: FineTune
    stage: Stage
    stopping: Callable[[], bool] = lambda: False
    """Whether somebody asked the stage to stop."""
    clock: Callable[[], float] = time.monotonic
    _began: tuple[int, float] | None = None
    _told: float = float("-inf")

    def check(self) -> None:
        """Call this where stopping loses nothing. Raises Stopped."""
        if self.stopping():
            raise Stopped

    def tell(self, message: str, step: int = 0, total: int | None = None, **metrics: float) -> None:
        """Say how far the stage is; the time left follows from the pace since the first call."""
        now = self.clock()
        if self._began is None or step < self._began[0]:
            self._began = (step, now)
        last = total is not None and step >= total
        if now - self._told < _EVERY and not last:
            return
        self._told = now
        first, since = self._began
        eta = (now - since) / (step - first) * (total - step) if total and step > first else None
        self.run.tell(
            Progress(
                stage=self.stage,
                step=step,
                total_steps=total,
                eta_seconds=eta,
                message=message,
                metrics=metrics,
            )
        )

    def result(self, stage: Stage) -> dict[str, Any]:
        """What came of an earlier stage. Raises TrainingError if it is not there."""
        outcome = self.run.outcome(stage)
        if outcome is None or outcome.state != "Succeeded":
            raise TrainingError(f"The stage `{stage}` is not done; run it first.", "StageMissing")
        return outcome.result


def wanted(fine_tune: FineTune) -> tuple[Stage, ...]:
    """The stages that this FineTune goes through, in order."""
    return fine_tune.stages


def inputs(run: Run, fine_tune: FineTune, stage: Stage) -> str:
    """Digest of all that a stage depends on."""
    spec = fine_tune.spec.model_dump(mode="json")
    before = [run.outcome(name) for name in STAGES[: STAGES.index(stage)]]
    depends = {
        "spec": {name: spec[name] for name in ASKED[stage]},
        "files": _local_files(fine_tune) if stage == "prepare" else [],
        "before": {outcome.stage: outcome.result for outcome in before if outcome is not None},
    }
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def _local_files(fine_tune: FineTune) -> list[tuple[str, int, int]]:
    """Path, size in bytes and time of change of local data: a name does not say that its file changed."""
    found = []
    for source in fine_tune.spec.dataset.sources:
        if not source.source.startswith("file://"):
            continue
        place = Path(unquote(urlsplit(source.source).path))
        inside = sorted(each for each in place.rglob("*") if each.is_file()) if place.is_dir() else [place]
        for file in inside:
            with suppress(OSError):  # That it is not there is for the stage to say.
                found.append((str(file), file.stat().st_size, file.stat().st_mtime_ns))
    return found


def run_stage(context: Context) -> Outcome:
    """Do the context's stage unless it is done already.

    Raises:
        Stopped: the stage was asked to stop; begun again it goes on.
    """
    run, stage = context.run, context.stage
    digest = inputs(run, context.fine_tune, stage)
    before = run.outcome(stage)
    if before is not None and before.state == "Succeeded" and before.inputs == digest:
        return before
    run.forget(stage)
    run.say(f"{stage} begins.")
    with recording(run, stage):
        began = context.clock()
        try:
            done: Done = import_module(WORK[stage]).work(context)
        except TrainingError as error:
            outcome = Outcome(
                stage=stage, state="Failed", reason=error.reason, message=str(error), inputs=digest
            )
        else:
            outcome = Outcome(
                stage=stage, state="Succeeded", message=done.message, inputs=digest, result=done.result
            )
        outcome.seconds = context.clock() - began
        run.end(outcome)
    run.say(f"{stage}: {outcome.message}", "info" if outcome.state == "Succeeded" else "error")
    return outcome
