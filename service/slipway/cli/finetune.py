"""`slipway finetune`: from data to an adapter on this machine, and how far it is."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from slipway.cli.finetune_trials import command as trials
from slipway.cli.finetune_watch import command as watch
from slipway.cli.options import output_option, print_json, print_table, sentences
from slipway.cli.workspaces import telling, workspace_of, workspace_option

if TYPE_CHECKING:
    from slipway.objects import FineTune
    from slipway.objects.finetunes import Stage
    from slipway.training.runs import Run
    from slipway.training.workspaces import Workspace

_STAGES = ("prepare", "search", "train", "evaluate", "register", "deploy")
"""Written out, so that `--help` loads no objects."""
stage_argument = click.argument("stage", type=click.Choice(_STAGES))


@click.group()
def command() -> None:
    """Prepare data, train, evaluate, register and deploy as a FineTune asks for, on this machine.

    Each stage is a process whose results are files; whatever is stopped or killed goes on where it was.
    """


command.add_command(trials, "trials")
command.add_command(watch, "watch")


@command.command()
@click.option(
    "-f", "--file", "file", required=True, type=click.Path(path_type=Path), help="YAML file with a FineTune."
)
@click.option("--until", type=click.Choice(_STAGES), help="The last stage that is done.")
@workspace_option
@sentences
@telling
def run(file: Path, until: "Stage | None", workspace: str | None) -> None:
    """Do the stages that are not done yet.

    Ctrl-C stops at the next safe point, a second one at once; run again, it goes on. Exit code 0: all is
    done, 1: a stage has failed, 75: stopped.

    \b
    Examples:
      slipway finetune run -f finetune.yaml
      slipway finetune run -f finetune.yaml --until train
    """
    from slipway.local.training import is_running
    from slipway.training.runs import Run

    fine_tune = _read(file)
    place = workspace_of(workspace)
    found = Run(place.run(fine_tune.metadata.name))
    if not is_running(found):
        found.begin(fine_tune)
    code = _work(found, place, until)
    if code == 75:
        click.echo(f"Stopped. `slipway finetune run -f {file}` goes on.", err=True)
    sys.exit(code)


@command.command(name="list")
@workspace_option
@output_option
@sentences
def list_(workspace: str | None, output: str) -> None:
    """List the runs of the workspace."""
    from slipway.local.training import names, open_run, view

    place = workspace_of(workspace)
    views = [view(open_run(place, name)) for name in names(place)]
    if output == "json":
        print_json([{"name": each.name, "state": each.state} for each in views])
    elif not views:
        click.echo(f"No runs in {place.root}.")
    else:
        rows = [
            (
                each.name,
                each.state,
                sum(stage.state == "Succeeded" for stage in each.stages),
                len(each.stages),
            )
            for each in views
        ]
        print_table(
            ["NAME", "STATE", "STAGES"], [(name, state, f"{done}/{all_}") for name, state, done, all_ in rows]
        )


@command.command()
@click.argument("name")
@workspace_option
@output_option
@sentences
def show(name: str, workspace: str | None, output: str) -> None:
    """Show how far a run is, what came of its stages, and its loss."""
    from slipway.cli.training_curves import curve, progress_line
    from slipway.local.training import view

    found = _open(workspace, name)
    seen = view(found)
    if output == "json":
        print_json(
            {
                "name": name,
                "state": seen.state,
                "stages": [
                    {
                        "name": each.stage,
                        "state": each.state,
                        "message": each.message,
                        "seconds": each.seconds,
                    }
                    for each in seen.stages
                ],
                "progress": seen.progress.model_dump(mode="json") if seen.progress else None,
            }
        )
        return
    click.echo(f"{name}: {seen.state}")
    if seen.progress is not None:
        click.echo(progress_line(seen.progress, width=100))
    print_table(
        ["STAGE", "STATE", "SECONDS", "MESSAGE"],
        [
            (each.stage, each.state, f"{each.seconds:.0f}" if each.seconds else "-", each.message or "-")
            for each in seen.stages
        ],
    )
    losses = [(line["step"], line["loss"]) for line in found.metrics() if "loss" in line]
    if len(losses) > 1:
        click.echo("\n".join(["", *curve(losses, width=72, height=8)]))


@command.command()
@click.argument("name")
@workspace_option
@sentences
def cancel(name: str, workspace: str | None) -> None:
    """End a run for good; what it made is kept, and `retry` lets it go on after all."""
    from slipway.local.training import cancel as end

    stopped = end(_open(workspace, name))
    click.echo(f"{name} is cancelled" + ("; what runs stops at its next safe point." if stopped else "."))


@command.command()
@click.argument("name")
@stage_argument
@workspace_option
@sentences
def retry(name: str, stage: "Stage", workspace: str | None) -> None:
    """Do a stage again, and all that come after it."""
    from slipway.local.training import forget

    found = _open(workspace, name)
    forget(found, stage)
    sys.exit(_work(found, workspace_of(workspace), None))


@command.command()
@click.argument("name")
@click.option("--stage", type=click.Choice(_STAGES), help="Print what this stage's processes wrote instead.")
@workspace_option
@sentences
def logs(name: str, stage: "Stage | None", workspace: str | None) -> None:
    """Print what happened, or what a stage's processes wrote."""
    found = _open(workspace, name)
    if stage is None:
        for event in found.events():
            click.echo(f"{event['at']} {event['level']:7} {event['message']}")
        return
    path = found.folder / "logs" / f"{stage}.log"
    if not path.exists():
        raise click.ClickException(f"The stage {stage} of {name} has not begun.")
    click.echo(path.read_text(errors="replace"), nl=False)


def _work(found: "Run", place: "Workspace", until: "Stage | None") -> int:
    from slipway.cli.training_curves import Screen
    from slipway.cli.training_python import training_python
    from slipway.local.training import Runner

    screen = Screen(sys.stderr, found)
    runner = Runner(training_python(), place, found, watch=lambda: screen.show(stopping=runner.stopping))
    try:
        return runner.work(until)
    finally:
        screen.close()


def _open(workspace: str | None, name: str) -> "Run":
    from slipway.local.training import open_run

    return open_run(workspace_of(workspace), name)


def _read(file: Path) -> "FineTune":
    from slipway.objects.loading import LoadError, load_file

    try:
        found = load_file(file).fine_tunes
    except LoadError as error:
        raise click.ClickException(str(error)) from None
    if len(found) != 1:
        raise click.ClickException(f"{file} holds {len(found)} FineTunes; one is done at a time.")
    return found[0].located(file.resolve().parent)
