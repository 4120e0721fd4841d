"""`slipway models`."""

from pathlib import Path
from typing import Any

import click

from slipway.cli.client import gateway, url_options
from slipway.cli.options import output_option, print_json, print_table, sentences, state_option


@click.command()
@state_option
@url_options
@output_option
@sentences
def command(state: Path | None, url: str | None, api_key: str | None, output: str) -> None:
    """List the models a key may call."""
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
