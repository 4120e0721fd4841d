"""The stage `search`: finds hyperparameters for the stage `train`."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

from slipway.objects.hyperparameters import SearchSpec
from slipway.training.errors import SearchError
from slipway.training.runs import write_atomically
from slipway.training.search.processes import Processes, found_cores, found_gpus, shares
from slipway.training.search.reporting import write_report
from slipway.training.search.searching import Perform, Search
from slipway.training.search.spaces import Space
from slipway.training.search.studies import Study, alone
from slipway.training.search.trials import Board, Trial
from slipway.training.stages import Context, Done
from slipway.training.tuning.stage import job_of


def work(context: Context) -> Done:
    """Search; the result is `{"best", "hyperparameters", "trials", "objective"}`.

    Raises:
        SearchError: the space is wrong, or no trial succeeded.
        Stopped: it was asked to stop; begun again it goes on.
    """
    spec = context.fine_tune.spec
    if spec.search is None:
        raise SearchError("The FineTune asks for no search; give `search`.", "NoSearch")
    space = Space.of(spec.search, spec.hyperparameters)
    with alone(context.run.folder / "search"):
        context.check()
        # Fetched once, before the trials, which then find it.
        base = job_of(context, spec.hyperparameters).base_digest
        document = {"workspace": str(context.workspace.root)}
        places = shares(spec.search.parallelism, found_cores(), found_gpus())
        perform = Processes(context.run.folder / "trials", document, places)
        name = _name(context, spec.search, base)
        return search(context, spec.search, space, name, perform)


def search(context: Context, spec: SearchSpec, space: Space, name: str, perform: Perform) -> Done:
    """Search by trials that `perform` does.

    Args:
        context: of the stage.
        spec: what is asked for.
        space: of its parameters.
        name: digest of all that makes trials what they are; trials of another one are removed.
        perform: does one trial.

    Raises:
        SearchError: no trial succeeded.
        Stopped: it was asked to stop.
    """
    folder = context.run.folder
    _begin(folder, name, context)
    before = Board.read(folder)
    progress = _Progress(context, spec, space)
    study = Study(folder / "search" / "study.log", spec, space, name)
    run = Search(
        study,
        perform,
        parallelism=spec.parallelism,
        timeout_s=spec.timeout.seconds if spec.timeout else None,
        spent_s=before.seconds if before else 0.0,
        stopping=context.stopping,
        changed=progress.changed,
        clock=context.clock,
    )
    _advise(context, spec, space)
    try:
        trials = run.run()
    finally:
        progress.changed(study.trials(), run.seconds)
    board = progress.board
    write_report(folder / "search" / "report.html", context.run.name, board, study.importance())
    best = board.best
    if best is None:
        raise _none(trials)
    failed = sum(trial.phase == "Failed" for trial in trials)
    stopped = sum(trial.phase == "Stopped" for trial in trials)
    message = f"{best.name} is the best of {len(trials)} trials: {board.metric} {best.value:.4g}"
    message += f", with {', '.join(f'{key} {value}' for key, value in best.parameters.items())}."
    message += f" {stopped} stopped early." * bool(stopped) + f" {failed} failed." * bool(failed)
    return Done(message, result(board, space))


def result(board: Board, space: Space) -> dict[str, Any]:
    """What later stages and the status need."""
    best = board.best
    return {
        "best": best.name if best else None,
        "hyperparameters": space.plain(best.parameters) if best else {},
        "objective": {"metric": board.metric, "goal": board.goal, "value": best.value if best else None},
        "trials": [
            {"name": each.name, "phase": each.phase, "parameters": each.parameters, "metrics": each.metrics}
            for each in board.trials
        ],
    }


@dataclass(slots=True)
class _Progress:
    """Tells people and files how far the search is."""

    context: Context
    spec: SearchSpec
    space: Space
    board: Board = None  # type: ignore[assignment] # Set by the first change.

    def changed(self, trials: list[Trial], seconds: float) -> None:
        objective, folder = self.spec.objective, self.context.run.folder
        before = {trial.name: trial.phase for trial in self.board.trials} if self.board else {}
        self.board = Board(metric=objective.metric, goal=objective.goal, seconds=seconds, trials=trials)
        self.board.write(folder)
        for trial in trials:
            if before.get(trial.name) == "Running" and trial.phase != "Running":
                self._ended(trial)
        self._tell(trials)

    def _ended(self, trial: Trial) -> None:
        # Checkpoints are for going on; this one never will. The winner is trained by the next stage.
        rmtree(self.context.run.folder / "trials" / trial.name / "train", ignore_errors=True)
        values = ", ".join(f"{name} {text}" for name, text in trial.parameters.items())
        if trial.phase == "Failed":
            self.context.run.say(f"{trial.name} ({values}) failed: {trial.message}", "warning")
            return
        how = (
            "reached"
            if trial.phase == "Succeeded"
            else f"was stopped after evaluation {len(trial.history)} at"
        )
        self.context.run.say(f"{trial.name} ({values}) {how} {self.board.metric} {trial.value:.4g}.")

    def _tell(self, trials: list[Trial]) -> None:
        """Progress counts evaluations, so that the time left is known before the first trial has ended."""
        ended = [trial for trial in trials if trial.phase != "Running"]
        each = self.space.evaluations()
        total = min(self.spec.trials, self.space.size or self.spec.trials)
        done = each * len(ended) + sum(len(trial.history) for trial in trials if trial.phase == "Running")
        best, metrics = self.board.best, {}
        message = f"{len(ended)} of {total} trials"
        if best is not None and best.value is not None:
            metrics = {self.board.metric: best.value}
            message += f", best {self.board.metric} {best.value:.4g} ({best.name})"
        self.context.tell(message, done, each * total, **metrics)


def _begin(folder: Path, name: str, context: Context) -> None:
    """Remove what another search has left."""
    mark = folder / "search" / "name"
    if mark.exists() and mark.read_text() != name:
        context.run.say("The search begins anew, as what is searched has changed.", "warning")
        for each in (folder / "trials", folder / "search" / "study.log", folder / "search" / "trials.json"):
            rmtree(each) if each.is_dir() else each.unlink(missing_ok=True)
    mark.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(mark, name)


def _name(context: Context, spec: SearchSpec, base: str) -> str:
    """Digest of what makes a trial what it is. More trials, time or places do not."""
    budget = {"trials", "timeout", "parallelism"}
    depends = [
        spec.model_dump(mode="json", exclude=budget),
        context.fine_tune.spec.model_dump(mode="json", include={"task", "method", "hyperparameters"}),
        context.result("prepare")["dataset"],
        base,
    ]
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:32]


def _advise(context: Context, spec: SearchSpec, space: Space) -> None:
    """Say what was asked for and does nothing."""
    if spec.pruning != "none" and space.evaluations() < 2:
        context.run.say("A training has one evaluation, so that no trial can be stopped early.", "warning")
    if spec.algorithm == "grid" and space.size is not None and space.size > spec.trials:
        context.run.say(
            f"The grid has {space.size} points and the search {spec.trials} trials; a part of it is tried.",
            "warning",
        )


def _none(trials: list[Trial]) -> SearchError:
    failed = next((trial for trial in trials if trial.phase == "Failed"), None)
    if failed is None:
        return SearchError("No trial was done within the search's time; raise `timeout`.", "NothingDone")
    return SearchError(f"No trial succeeded. {failed.name}: {failed.message}", failed.reason)
