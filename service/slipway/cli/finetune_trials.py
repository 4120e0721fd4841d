"""`slipway finetune trials`."""

from typing import TYPE_CHECKING

import click

from slipway.cli.options import output_option, print_json, print_table
from slipway.cli.workspaces import workspace_of, workspace_option

if TYPE_CHECKING:
    from slipway.training.search.trials import Board, Trial


@click.command()
@click.argument("name")
@workspace_option
@output_option
def command(name: str, workspace: str | None, output: str) -> None:
    """List the trials of a FineTune's search, the best first."""
    from slipway.training.search.trials import Board

    run = workspace_of(workspace).run(name)
    if not run.is_dir():
        raise click.ClickException(f"There is no run `{name}` in {run.parent}.")
    board = Board.read(run)
    if board is None:
        raise click.ClickException(f"`{name}` has not searched: its `search` stage has not begun.")
    if output == "json":
        print_json([{"name": trial.name, **trial.model_dump(mode="json")} for trial in board.ranked()])
        return
    _print(board)
    if (report := run / "search" / "report.html").exists():
        click.echo(f"\nPictures: {report}")


def _print(board: "Board") -> None:
    names = list(board.trials[0].parameters) if board.trials else []
    head = ["TRIAL", "PHASE", *names, board.metric, "EVALUATIONS", "SECONDS", "REMARK"]
    print_table(head, [_row(trial, names, board) for trial in board.ranked()])


def _row(trial: "Trial", names: list[str], board: "Board") -> list[object]:
    value = "-" if trial.value is None else f"{trial.value:.6g}"
    remark = trial.message or ("best" if trial is board.best else "")
    parameters = [trial.parameters[name] for name in names]
    return [trial.name, trial.phase, *parameters, value, len(trial.history), f"{trial.seconds:.0f}", remark]
