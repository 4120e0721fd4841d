"""Does one stage of a FineTune, as a process of its own: `python -m slipway.training STAGE --run FOLDER`.

Exit codes: 0 done, 1 failed (STAGE.json says why and how to mend it), 75 stopped and to be begun again.
"""

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

import yaml

from slipway.objects import FineTune
from slipway.training.errors import Stopped
from slipway.training.reporting import redo, serve_progress, write_outcome
from slipway.training.runs import STAGES, Follower, Run
from slipway.training.stages import Context, run_stage
from slipway.training.workspaces import Workspace

STOPPED = 75
"""EX_TEMPFAIL of sysexits.h."""


def main() -> int:
    """Do the stage that the arguments name; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m slipway.training", description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument(
        "--workspace", type=Path, required=True, help="where datasets, runs and the registry lie"
    )
    parser.add_argument("--run", required=True, help="name of the run, which holds its finetune.yaml")
    parser.add_argument("--fine-tune", type=Path, help="begin the run with the FineTune of this file")
    parser.add_argument("--serve-progress", type=int, metavar="PORT", help="answer GET /progress and /livez")
    parser.add_argument(
        "--termination-log", type=Path, help="write what came of it here too, in 4 KiB at most"
    )
    parser.add_argument(
        "--redo", metavar="WISH", help="do it again though it is done, once for each new wish"
    )
    given = parser.parse_args()
    asked: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    workspace = Workspace(given.workspace.resolve())
    leads = os.environ.get("RANK", "0") == "0"
    run = (Run if leads else Follower)(workspace.run(given.run))
    _prepare(given, run)
    context = Context(workspace, run, run.fine_tune(), given.stage, stopping=lambda: bool(asked))
    try:
        outcome = run_stage(context)
    except Stopped:
        run.say(f"{given.stage} has stopped; it goes on where it was.")
        return STOPPED
    if given.termination_log is not None and leads:
        write_outcome(outcome, given.termination_log)
    print(outcome.message, file=sys.stdout if outcome.state == "Succeeded" else sys.stderr)
    return 0 if outcome.state == "Succeeded" else 1


def _prepare(given: argparse.Namespace, run: Run) -> None:
    """What a pod asks for beside the stage; of the processes of one node the first does it."""
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return
    if given.fine_tune is not None:
        run.begin(FineTune.model_validate(yaml.safe_load(given.fine_tune.read_text())))
    if given.redo:
        redo(run, given.stage, given.redo)
    if given.serve_progress is not None:
        serve_progress(run, given.serve_progress)


if __name__ == "__main__":
    sys.exit(main())
