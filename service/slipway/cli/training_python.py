"""The interpreter with the training packages, for commands whose work needs them."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import click

VARIABLE = "SLIPWAY_TRAINING_PYTHON"
_NEEDED = ("torch", "transformers", "peft", "datasets")
_MEND = (
    "make an environment with `uv pip sync locks/training.txt` (or `pip install 'slipway[training]'`)"
    f" and set {VARIABLE} to its bin/python"
)


def training_python(environ: Mapping[str, str] = os.environ, prefix: Path = Path(sys.prefix)) -> str:
    """The interpreter that has the training packages.

    It is `$SLIPWAY_TRAINING_PYTHON`, else this one if it has them, else that of an environment `training*`
    beside this one's (`.venvs/training`, `.venvs/training-tests`).

    Raises:
        ClickException: there is none; the message says how to make it.
    """
    if chosen := environ.get(VARIABLE):
        found = shutil.which(chosen)
        if found is None:
            raise click.ClickException(f"{VARIABLE} names {chosen}, which cannot be run: {_MEND}.")
        return os.path.abspath(found)  # noqa: PTH100 - links stay: an environment's interpreter is one
    if all(find_spec(name) is not None for name in _NEEDED):
        return sys.executable
    for python in sorted(prefix.parent.glob("training*/bin/python")):
        if os.access(python, os.X_OK):
            return str(python)
    raise click.ClickException(f"This needs the training packages, which are not here: {_MEND}.")


def run_in_training(module: str, arguments: Sequence[str]) -> int:
    """Run `python -m MODULE ARGUMENTS` under that interpreter, in the foreground; its exit code.

    Ctrl-C reaches it directly and is its own to answer; SIGTERM is passed on.
    """
    child = subprocess.Popen(
        [training_python(), "-m", module, *arguments], env=os.environ | {"PYTHONSAFEPATH": "1"}
    )
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda number, frame: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda number, frame: child.terminate()),
    }
    try:
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
