"""Does one stage of a FineTune, as a process of its own: `python -m slipway.training STAGE --run FOLDER`.

Exit codes: 0 done, 1 failed (STAGE.json says why and how to mend it), 75 stopped and to be begun again.
"""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from slipway.training.errors import Stopped
from slipway.training.runs import STAGES, Run
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
    given = parser.parse_args()
    asked: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    workspace = Workspace(given.workspace.resolve())
    run = Run(workspace.run(given.run))
    context = Context(workspace, run, run.fine_tune(), given.stage, stopping=lambda: bool(asked))
    try:
        outcome = run_stage(context)
    except Stopped:
        run.say(f"{given.stage} has stopped; it goes on where it was.")
        return STOPPED
    print(outcome.message, file=sys.stdout if outcome.state == "Succeeded" else sys.stderr)
    return 0 if outcome.state == "Succeeded" else 1


if __name__ == "__main__":
    sys.exit(main())
