"""`slipway models`."""

from importlib import import_module
from pathlib import Path
from typing import Any

import click

from slipway.cli.client import gateway, url_options
from slipway.cli.options import output_option, print_json, print_table, sentences, state_option

_COMMANDS = {
    "recommend": ("slipway.cli.models_recommend", "Which model to begin with: what fits, and why."),
    "baseline": ("slipway.cli.models_baseline", "How good models are on your data without training."),
}


class _Group(click.Group):
    """Its commands are imported when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(_COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Group, invoke_without_command=True)
@click.pass_context
@state_option
@url_options
@output_option
@sentences
def command(
    ctx: click.Context, state: Path | None, url: str | None, api_key: str | None, output: str
) -> None:
    """List the models a key may call; with a command, choose a model to begin with."""
    if ctx.invoked_subcommand is not None:
        return
    models = gateway(state, url, api_key).models()
    if output == "json":
        print_json(models)
    elif not models:
        click.echo("No models that this key may call.")
    else:
        print_table(["MODEL", "TASK", "READY", "PARENT"], [_row(model) for model in models])


def _row(model: dict[str, Any]) -> list[object]:
    ready = "-" if "ready" not in model else "yes" if model["ready"] else "no"
    return [model["id"], model.get("task") or "-", ready, model.get("parent") or "-"]
