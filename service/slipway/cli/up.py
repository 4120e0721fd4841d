"""`slipway up`."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from slipway.cli.options import sentences, state_folder, state_option

MOST_MISTAKES = 40


@click.command()
@click.option(
    "-f",
    "--file",
    "file",
    default="slipway.yaml",
    show_default=True,
    metavar="FILE",
    help="YAML file of LLMService and APIKey objects; - reads standard input.",
)
@state_option
@click.option("--host", help="Address the gateway listens on.  [default: 127.0.0.1]")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Port the gateway listens on.  [default: 8000]",
)
@click.option("-d", "--detach", is_flag=True, help="Leave the run in the background once all is ready.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=1800,
    show_default=True,
    metavar="SECONDS",
    help="How long the start may take; 0: no limit.",
)
@click.pass_context
@sentences
def command(
    ctx: click.Context,
    file: str,
    state: Path | None,
    host: str | None,
    port: int | None,
    detach: bool,
    timeout: float,
) -> None:
    """Serve what a file of objects asks for, as processes of this machine.

    Starts a gateway, and an engine for each replica of each LLMService; waits until all is ready and
    prints the gateway's address, an API key and a first call. Ctrl-C stops everything: what is being
    answered is finished; a second Ctrl-C kills.

    Run again with a changed file while a run is going on, it hands over the changes and returns when
    they are ready: unchanged replicas are not touched, a new revision starts before the old one stops,
    and keys take effect at once.

    Engines run under the interpreter $SLIPWAY_ENGINE_PYTHON.

    \b
    Examples:
      slipway up
      slipway up -f my-models.yaml --port 9000
      slipway up -d && slipway chat
    """
    from slipway.local import runs
    from slipway.local.commands import Installed
    from slipway.local.display import Display
    from slipway.local.errors import LocalError
    from slipway.local.supervisor import Settings
    from slipway.objects.clusteronly import warnings
    from slipway.objects.loading import LoadError, load, load_file

    try:
        data = load(sys.stdin.buffer.read(), "standard input") if file == "-" else load_file(Path(file))
    except LoadError as error:
        raise LocalError(_listed(error)) from None
    for warning in warnings(data):
        click.echo(f"Note: {warning}", err=True)
    folder = state_folder(state)
    folder.create()
    commands = ctx.obj or Installed(os.environ)
    display = Display(sys.stderr)
    settings = Settings(host or "127.0.0.1", port or 8000, timeout)
    with folder.explained():
        lock = folder.try_lock()
    try:
        if lock is None:
            code = runs.up_there(folder, data, host, port, timeout, display, _print)
        elif detach:
            code = runs.up_behind(folder, lock, commands, settings, data, display, _print)
        else:
            code = runs.up_here(folder, commands, settings, data, display, _print)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        display.close()
    sys.exit(code)


def _listed(error: Exception) -> str:
    lines = str(error).splitlines()
    if len(lines) == 1:
        return lines[0]
    more = [f"and {len(lines) - MOST_MISTAKES} more"] if len(lines) > MOST_MISTAKES else []
    shown = "\n".join(f"  {line}" for line in [*lines[:MOST_MISTAKES], *more])
    return f"{len(lines)} mistakes:\n{shown}"


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)
