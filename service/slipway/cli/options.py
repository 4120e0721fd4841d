"""What several commands share: the state folder's option, sentences instead of traces, tables."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from slipway.local.folders import StateFolder

P = ParamSpec("P")
R = TypeVar("R")

state_option = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="SLIPWAY_STATE",
    show_envvar=True,
    help="State folder of the run.  [default: ~/.local/state/slipway]",
)
output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print.",
)


def state_folder(given: Path | None) -> "StateFolder":
    """The state folder that a command works on."""
    from slipway.local.folders import StateFolder
    from slipway.objects.places import default_state

    return StateFolder(given or default_state(os.environ))


def sentences(run: Callable[P, R]) -> Callable[P, R]:
    """What goes wrong in a local run becomes `Error: sentence` and exit code 1."""

    @wraps(run)
    def command(*args: P.args, **kwargs: P.kwargs) -> R:
        from slipway.local.errors import LocalError

        try:
            return run(*args, **kwargs)
        except LocalError as error:
            raise click.ClickException(str(error)) from None
        except BrokenPipeError:
            # Nobody reads on, as in `slipway status | head -1`.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None

    return command


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table."""
    for line in columns(head, rows):
        click.echo(line)


def columns(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A table's lines, its columns as wide as what is in them, as kubectl prints."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
