"""`slipway down`."""

from pathlib import Path

import click

from slipway.cli.options import sentences, state_folder, state_option


@click.command()
@state_option
@sentences
def command(state: Path | None) -> None:
    """Stop what `slipway up` started.

    What is being answered is finished first. Also finds what a run left that was killed. Nothing to stop
    is no error.
    """
    from slipway.local.runs import down

    stopped = down(state_folder(state), click.echo)
    if stopped.run is not None:
        click.echo("Stopped.")
    for name in stopped.leftovers:
        click.echo(f"Killed {name}, left without a supervisor.")
    if stopped.run is None and not stopped.leftovers:
        click.echo("Nothing runs.")
