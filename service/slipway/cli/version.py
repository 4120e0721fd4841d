"""`slipway version`."""

import click

from slipway import __version__


@click.command()
def command() -> None:
    """Print the version."""
    click.echo(__version__)
