"""What commands over a workspace share: the option, and sentences instead of traces."""

import sys
from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from slipway.training.workspaces import Workspace

P = ParamSpec("P")
R = TypeVar("R")

workspace_option = click.option(
    "--workspace",
    envvar="SLIPWAY_WORKSPACE",
    show_envvar=True,
    help="Where datasets, runs and the registry lie.  [default: ~/.local/share/slipway]",
)


def workspace_of(given: str | None) -> "Workspace":
    """The workspace that a command works on."""
    from slipway.training.workspaces import Workspace

    return Workspace.found(given)


def telling(run: Callable[P, R]) -> Callable[P, R]:
    """What goes wrong becomes `Error: sentence` and exit code 1."""

    @wraps(run)
    def command(*args: P.args, **kwargs: P.kwargs) -> R:
        from slipway.training.errors import TrainingError

        try:
            return run(*args, **kwargs)
        except TrainingError as error:
            raise click.ClickException(str(error)) from None

    return command


def elsewhere(module: str) -> None:
    """Run this very command under the training interpreter if this one lacks `module`; ends the process."""
    if find_spec(module) is None:
        from slipway.cli.training_python import run_in_training

        raise SystemExit(run_in_training("slipway", sys.argv[1:]))
