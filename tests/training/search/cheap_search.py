"""The stage `search` with cheap trials, as a process that can be killed: `cheap_search.py WORKSPACE`."""

import signal
import sys
from pathlib import Path

from slipway.training.errors import Stopped
from slipway.training.runs import Run
from slipway.training.search.processes import Processes, shares
from slipway.training.search.spaces import Space
from slipway.training.search.stage import search
from slipway.training.stages import Context
from slipway.training.workspaces import Workspace

workspace = Workspace(Path(sys.argv[1]))
run = Run(workspace.run("tuned"))
asked: list[int] = []
signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
context = Context(workspace, run, run.fine_tune(), "search", stopping=lambda: bool(asked))
spec = context.fine_tune.spec.search
assert spec is not None
command = (sys.executable, str(Path(__file__).with_name("cheap_trial.py")))
perform = Processes(run.folder / "trials", {}, shares(spec.parallelism, 2, []), command)
try:
    space = Space.of(spec, context.fine_tune.spec.hyperparameters)
    print(search(context, spec, space, "cheap", perform).message)
except Stopped:
    sys.exit(75)
