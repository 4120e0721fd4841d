"""A FineTune on this machine: its stages as processes, one after the other; all that is known is in files.

Beside what `slipway.training.runs` says, a run's folder holds `logs/STAGE.log`, `cancelled` once it was
cancelled, and `lock`, an flock that the runner and the stage's process hold together: whoever is killed, a
second runner cannot begin while a stage still works.
"""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import IO, Literal

from slipway.local.errors import LocalError
from slipway.objects import FineTune
from slipway.objects.finetunes import Stage
from slipway.training.runs import STAGES, Outcome, Progress, Run
from slipway.training.stages import WORK, inputs, wanted
from slipway.training.workspaces import Workspace

STOPPED = 75
"""What a stage's process exits with that stopped and goes on when begun again."""
State = Literal["Waiting", "Running", "Succeeded", "Failed", "Cancelled"]
_LOOK_EVERY = 0.25
"""Seconds between two looks at a stage's files."""
_TAIL = 2000
"""Characters of a log that are shown when a process ended without a word."""


class TrainingRunError(LocalError):
    """A run cannot begin or go on."""


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage, as far as its files tell."""

    stage: Stage
    state: State
    message: str
    seconds: float


@dataclass(frozen=True, slots=True)
class RunView:
    """One run, as far as its files tell."""

    name: str
    state: State
    stages: tuple[StageView, ...]
    progress: Progress | None
    """Of the stage that runs."""


def names(workspace: Workspace) -> list[str]:
    """The runs of a workspace."""
    return sorted(path.parent.name for path in workspace.runs.glob("*/finetune.yaml"))


def open_run(workspace: Workspace, name: str) -> Run:
    """The run of that name. Raises TrainingRunError."""
    if "/" in name or not (workspace.run(name) / "finetune.yaml").is_file():
        known = ", ".join(names(workspace))
        raise TrainingRunError(
            f"There is no run {name} in {workspace.root}" + (f"; there are {known}." if known else ".")
        )
    return Run(workspace.run(name))


def view(run: Run) -> RunView:
    """How a run stands."""
    fine_tune = run.fine_tune()
    running = is_running(run)
    progress = run.progress() if running else None
    stages = tuple(_stage(run, stage, progress, fine_tune) for stage in wanted(fine_tune))
    states = {each.state for each in stages}
    state: State = "Waiting"
    if running:
        state = "Running"
    elif is_cancelled(run):
        state = "Cancelled"
    elif "Failed" in states:
        state = "Failed"
    elif states == {"Succeeded"}:
        state = "Succeeded"
    return RunView(run.name, state, stages, progress)


def is_running(run: Run) -> bool:
    """Whether a runner or a stage's process works on it."""
    try:
        with (run.folder / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def is_cancelled(run: Run) -> bool:
    """Whether it was ended for good."""
    return (run.folder / "cancelled").exists()


def cancel(run: Run) -> bool:
    """End a run for good; whether something was stopped. What is there is kept."""
    (run.folder / "cancelled").touch()
    run.say("Cancelled.", "warning")
    try:
        pid = int((run.folder / "runner.pid").read_text())
    except (FileNotFoundError, ValueError):
        return False
    # Only who holds the lock wrote this number; after it was let go the number may be another's.
    if not is_running(run):
        return False
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return False
    return True


def forget(run: Run, stage: Stage) -> None:
    """Let a stage be done again, and all after it. Raises TrainingRunError."""
    if is_running(run):
        raise TrainingRunError(f"{run.name} is running; stop it first with `slipway finetune cancel`.")
    if stage not in wanted(run.fine_tune()):
        raise TrainingRunError(f"{run.name} has no stage {stage}.")
    (run.folder / "cancelled").unlink(missing_ok=True)
    run.forget(stage)


@dataclass(slots=True)
class Runner:
    """Does a run's stages.

    Args:
        python: the interpreter with the training packages.
        watch: called a few times a second while a stage works.
        environ: of the stages' processes.
    """

    python: str
    workspace: Workspace
    run: Run
    watch: Callable[[], None]
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    _child: subprocess.Popen[bytes] | None = None
    _asked: int = 0

    def work(self, until: Stage | None = None) -> int:
        """Do what is not done yet, up to `until`; the exit code: 0 done, 1 failed, 75 stopped.

        Raises:
            TrainingRunError: another process works on it, it was cancelled, or a stage is not there.
        """
        with (self.run.folder / "lock").open("wb") as lock:
            self._take(lock)
            if is_cancelled(self.run):
                raise TrainingRunError(
                    f"{self.run.name} was cancelled;"
                    f" `slipway finetune retry {self.run.name} STAGE` lets it go on."
                )
            (self.run.folder / "runner.pid").write_text(str(os.getpid()))
            before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                return self._stages(until, lock)
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
                (self.run.folder / "runner.pid").unlink(missing_ok=True)

    def _stages(self, until: Stage | None, lock: IO[bytes]) -> int:
        fine_tune = self.run.fine_tune()
        for stage in wanted(fine_tune):
            if until is not None and STAGES.index(stage) > STAGES.index(until):
                break
            if self._asked:
                return STOPPED
            if is_done(self.run, fine_tune, stage):
                continue
            if code := self._stage(stage, lock):
                return code
        return 0

    def _stage(self, stage: Stage, lock: IO[bytes]) -> int:
        if not _is_there(WORK[stage]):
            raise TrainingRunError(f"The stage {stage} is not part of this installation ({WORK[stage]}).")
        command = [self.python, "-m", "slipway.training", stage]
        command += ["--workspace", str(self.workspace.root), "--run", self.run.name]
        log = self.run.folder / "logs" / f"{stage}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environ | {"PYTHONSAFEPATH": "1"},
                pass_fds=[lock.fileno()],
                # Ctrl-C is the runner's to pass on: once as a wish, then as an end.
                start_new_session=True,
            )
        while (code := self._child.poll()) is None:
            self.watch()
            time.sleep(_LOOK_EVERY)
        self._child = None
        self.watch()
        if code in (0, STOPPED):
            return code
        outcome = self.run.outcome(stage)
        if outcome is None or outcome.state != "Failed":
            raise TrainingRunError(_died(stage, code, log))
        return 1

    def _take(self, lock: IO[bytes]) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingRunError(
                f"{self.run.name} is running already;"
                f" `slipway finetune show {self.run.name}` tells how far it is."
            ) from None

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Ask the stage to stop at its next safe point; asked a second time by hand, end it."""
        self._asked += number == signal.SIGINT or not self._asked
        if self._child is not None:
            self._child.send_signal(signal.SIGTERM if self._asked == 1 else signal.SIGKILL)

    @property
    def stopping(self) -> bool:
        """Whether somebody asked to stop."""
        return self._asked > 0


def is_done(run: Run, fine_tune: FineTune, stage: Stage) -> bool:
    """Whether a stage succeeded with just these inputs."""
    outcome = run.outcome(stage)
    return (
        outcome is not None
        and outcome.state == "Succeeded"
        and outcome.inputs == inputs(run, fine_tune, stage)
    )


def _stage(run: Run, stage: Stage, progress: Progress | None, fine_tune: FineTune) -> StageView:
    if progress is not None and progress.stage == stage:
        return StageView(stage, "Running", progress.message, 0.0)
    outcome: Outcome | None = run.outcome(stage)
    if outcome is None:
        return StageView(stage, "Waiting", "", 0.0)
    if outcome.state == "Succeeded" and not is_done(run, fine_tune, stage):
        return StageView(stage, "Waiting", "what it depends on has changed since", outcome.seconds)
    return StageView(stage, outcome.state, outcome.message, outcome.seconds)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _died(stage: Stage, code: int, log: Path) -> str:
    if code == -signal.SIGKILL:
        return (
            f"The stage {stage} was killed, most likely for want of memory: give it more, or lower"
            " microBatchSize or maxLength. Run again it goes on from its last checkpoint."
        )
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    tail = log.read_text(errors="replace")[-_TAIL:].strip()
    return f"The stage {stage} {how} and left no result. The end of {log}:\n{tail}"
