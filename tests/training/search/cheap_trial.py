"""A trial whose training is a known function: five evaluations, a checkpoint after each, faults on demand.

`$CHEAP` is JSON: {"kill": ["trial-002", 3, "search"]} kills the search, the trial or nobody with SIGKILL
before that evaluation, once, and waits; {"fail": {"trial-001": "memory"}} fails a trial in that way.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slipway.training.errors import Stopped, TuningError
from slipway.training.search.trial import serve
from slipway.training.tuning.jobs import Report
from training.search.functions import loss

EVALUATIONS = 5
STEPS = 10
"""Optimizer steps between two evaluations."""


def objective(
    folder: Path,
    document: dict[str, Any],
    report: Report,
    stopping: Callable[[], bool],
) -> Mapping[str, float]:
    print("Libraries print what they like.")
    asked = json.loads(os.environ.get("CHEAP", "{}"))
    _fail(asked.get("fail", {}).get(folder.name))
    checkpoint, metrics = folder / "train" / "checkpoint", {}
    checkpoint.parent.mkdir(exist_ok=True)
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    (folder / "began").open("a").write(f"{done} {os.environ['OMP_NUM_THREADS']}\n")
    for evaluation in range(done + 1, EVALUATIONS + 1):
        if asked.get("kill", [])[:2] == [folder.name, evaluation]:
            _kill(folder, asked["kill"][2])
        if stopping():
            raise Stopped
        metrics = {"eval_loss": loss(document["parameters"], evaluation, EVALUATIONS)}
        if not report(evaluation * STEPS, metrics):
            return metrics
        checkpoint.write_text(str(evaluation))
    return metrics


def _kill(folder: Path, whom: str) -> None:
    mark = folder.parent.parent / "killed"
    if mark.exists():
        return
    mark.touch()
    if whom != "nobody":
        os.kill(os.getppid() if whom == "search" else os.getpid(), signal.SIGKILL)
    signal.pause()


def _fail(how: str | None) -> None:
    if how == "memory":
        raise MemoryError
    if how == "nan":
        raise TuningError("The loss is no number at step 12, batch 3.", "NotANumber")
    if how == "crash":
        os.abort()


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[2]), objective))
