"""Writes down what a stage does beside its own files: energy, and in trackers where those are asked for."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from slipway.objects.finetunes import Stage
from slipway.training.runs import Run
from slipway.training.tracking.energy import metering
from slipway.training.tracking.trackers import NAMES, VARIABLE

PATIENCE_S = 10.0
"""How long the end of a stage waits for a tracker to take the rest."""


@contextmanager
def recording(run: Run, stage: Stage, environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Record the block, one attempt at a stage. The outcome has to be written down before it ends."""
    with metering(run.folder, stage, environ), _following(run, stage, environ):
        yield


@contextmanager
def _following(run: Run, stage: Stage, environ: Mapping[str, str]) -> Iterator[None]:
    """A process for each tracker follows the run's files: what is slow, hangs or dies is not the training."""
    followers = {name: _begun(run, stage, name, environ) for name in _asked(run, environ)}
    try:
        yield
    finally:
        for follower in followers.values():
            if follower is not None and follower.stdin is not None:
                with suppress(OSError):
                    follower.stdin.close()  # The end of its input tells it that the stage has ended.
        for name, follower in followers.items():
            if follower is not None and (problem := _ended(follower)):
                run.say(
                    f"The tracker {name} {problem}. What it has not taken goes out with the next stage;"
                    f" trackers/{name}.log has its words.",
                    "warning",
                )


def _asked(run: Run, environ: Mapping[str, str]) -> list[str]:
    asked = [name.strip().lower() for name in environ.get(VARIABLE, "").split(",") if name.strip()]
    for name in dict.fromkeys(asked):
        if name not in NAMES:
            run.say(
                f"{VARIABLE} names {name!r}, which is no tracker: there are {', '.join(NAMES)}.", "warning"
            )
    return [name for name in dict.fromkeys(asked) if name in NAMES]


def _begun(run: Run, stage: Stage, name: str, environ: Mapping[str, str]) -> "subprocess.Popen[bytes] | None":
    folder = run.folder / "trackers"
    command = [sys.executable, "-m", "slipway.training.tracking", name, "--run", str(run.folder)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [*command, "--stage", stage],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**environ, "PYTHONSAFEPATH": "1"},
                start_new_session=True,  # Ctrl-C stops the training; this one sends what is left.
            )
    except OSError as error:
        run.say(f"The tracker {name} cannot be followed: {error}.", "warning")
        return None


def _ended(follower: "subprocess.Popen[bytes]") -> str | None:
    """Wait for a tracker within bounds; what went wrong."""
    try:
        code = follower.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        follower.kill()
        follower.wait()
        return f"did not take all within {PATIENCE_S:g} s"
    return None if code == 0 else "is away, or refuses what it is sent"
