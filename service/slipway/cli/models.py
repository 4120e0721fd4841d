"""`slipway models`."""

from pathlib import Path

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
        rows = [[model["id"], model.get("parent") or "-", model.get("owned_by") or "-"] for model in models]
        print_table(["MODEL", "PARENT", "OWNED BY"], rows)
