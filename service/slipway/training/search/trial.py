"""One trial, as a process of its own: `python -m slipway.training.search.trial --folder RUN/trials/TRIAL`.

It writes a line of JSON to its standard output for each evaluation, `{"evaluation", "step", "metrics"}`, and
reads the answer, `true` to go on or `false` to end, from its standard input. When that closes, the search is
gone and the trial ends at once: it goes on from its checkpoint. What came of it is `result.json`.
"""

import argparse
import fcntl
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TextIO

from pydantic import BaseModel, ConfigDict

from slipway.training.errors import Stopped, TrainingError
from slipway.training.runs import write_atomically
from slipway.training.search.trials import Phase
from slipway.training.tuning.jobs import Report

STOPPED = 75
"""EX_TEMPFAIL of sysexits.h: the trial goes on when it is begun again."""


class Result(BaseModel):
    """What came of a trial: its `result.json`."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    state: Phase
    metrics: dict[str, float] = {}
    reason: str = ""
    message: str = ""
    seconds: float = 0.0


class Objective(Protocol):
    """Trains by `trial.json`'s document and returns what the model reaches on the validation part.

    It calls `report(step, metrics)` at each evaluation and ends early where that says False.
    """

    def __call__(
        self,
        folder: Path,
        document: dict[str, Any],
        report: Report,
        stopping: Callable[[], bool],
    ) -> Mapping[str, float]: ...


@dataclass(slots=True)
class Reports:
    """Passes evaluations on to the search; counts them over all attempts at the trial."""

    folder: Path
    out: TextIO
    answers: "queue.Queue[str]"
    last: Mapping[str, float] | None = None
    pruned: bool = False

    def __call__(self, step: int, metrics: dict[str, float]) -> bool:
        """Report an evaluation after optimizer step `step`; whether training is to go on."""
        path = self.folder / "reports.jsonl"
        before = {json.loads(line)["step"] for line in _whole_lines(path)}
        evaluation = 1 + sum(each < step for each in before)
        line = {"evaluation": evaluation, "step": step, "metrics": dict(metrics), "at": time.time()}
        if step not in before:
            with path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        self.out.write(json.dumps(line) + "\n")
        self.out.flush()
        self.last = metrics
        self.pruned = self.answers.get() != "true"
        return not self.pruned


def serve(folder: Path, objective: Objective) -> int:
    """Do the trial in `folder`; the exit code: 0 it ended (`result.json`), 75 it stopped and can go on."""
    out, answers, stopped = _streams(folder), queue.Queue[str](), threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    threading.Thread(target=_listen, args=(answers,), daemon=True).start()
    reports = Reports(folder, out, answers)
    with _alone(folder), _clock(folder) as seconds:
        document = json.loads((folder / "trial.json").read_text())
        result = _done(folder, document, objective, reports, stopped)
        if result is None:
            return STOPPED
        result.seconds = seconds()
        write_atomically(folder / "result.json", result.model_dump_json(indent=1))
    return 0


def _done(
    folder: Path, document: dict[str, Any], objective: Objective, reports: Reports, stopped: threading.Event
) -> Result | None:
    """What came of it; None where it was stopped."""
    try:
        metrics = objective(folder, document, reports, stopped.is_set)
    except Stopped:
        if not reports.pruned:
            return None
        metrics = {}
    except TrainingError as error:
        return _failed(reports, error.reason, str(error))
    except Exception as error:  # One trial's failure, whatever it is, is no reason to end the search.
        traceback.print_exc()
        reason = "OutOfMemory" if isinstance(error, MemoryError) else type(error).__name__
        return _failed(reports, reason, f"{type(error).__name__}: {error}"[:1000])
    if reports.pruned:
        return Result(state="Stopped", metrics=dict(reports.last or {}))
    return Result(state="Succeeded", metrics={**(reports.last or {}), **metrics})


def _failed(reports: Reports, reason: str, message: str) -> Result:
    return Result(state="Failed", metrics=dict(reports.last or {}), reason=reason, message=message)


def _streams(folder: Path) -> TextIO:
    """The way to the search; all else that is printed, by whatever library, goes to `log.txt`."""
    out = os.fdopen(os.dup(1), "w")
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    return out


def _listen(answers: "queue.Queue[str]") -> None:
    # Unbuffered: a buffer's lock, held by a thread that waits, would crash Python's end.
    with os.fdopen(0, "rb", buffering=0, closefd=False) as file:
        for line in file:
            answers.put(line.decode().strip())
    os._exit(STOPPED)  # Nobody is left to train for.


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until an attempt before this one has ended."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _clock(folder: Path) -> Iterator[Callable[[], float]]:
    """Seconds over all attempts that ended by themselves."""
    path, began = folder / "seconds", time.monotonic()
    before = float(path.read_text()) if path.exists() else 0.0

    def seconds() -> float:
        return before + time.monotonic() - began

    yield seconds
    write_atomically(path, f"{seconds():.3f}")


def _whole_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def main() -> int:
    """Train as the arguments say; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m slipway.training.search.trial", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="of the trial, with its trial.json")
    from slipway.training.search.objectives import validation

    return serve(parser.parse_args().folder.resolve(), validation)


if __name__ == "__main__":
    sys.exit(main())
