"""`slipway gateway`."""

from pathlib import Path
from typing import Any

import click


@click.command()
@click.option("--host", help="Address to listen at.  [default: 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen at; 0 takes a free one.  [default: 8000]"
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="State folder with the objects and endpoints.  [default: $SLIPWAY_STATE or ~/.local/state/slipway]",
)
@click.option(
    "--drain-timeout", type=click.IntRange(1), help="Seconds that running answers have after SIGTERM."
)
def command(**options: Any) -> None:
    """Run the gateway: OpenAI-compatible API, auth, limits, console.

    It serves what the state folder or a cluster says and takes up changes without a restart. Every setting
    can be given in the environment as SLIPWAY_GATEWAY_NAME; see docs/api.md.
    """
    from pydantic import ValidationError

    from slipway.gateway.app import make_gateway
    from slipway.gateway.server import PortTakenError, listen, serve
    from slipway.gateway.settings import GatewaySettings
    from slipway.kube.errors import ConfigError

    try:
        settings = GatewaySettings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            name = "SLIPWAY_GATEWAY_" + "_".join(str(part) for part in problem["loc"]).upper()
            click.echo(f"{name}: {problem['msg']}", err=True)
        raise SystemExit(2) from None
    try:
        listener = listen(settings)
    except PortTakenError as error:
        click.echo(str(error), err=True)
        raise SystemExit(1) from None
    try:
        gateway = make_gateway(settings)
    except ConfigError as error:
        click.echo(f"The cluster cannot be found: {error}", err=True)
        raise SystemExit(1) from None
    serve(gateway, listener)
