"""`slipway describe`."""

from datetime import UTC, datetime
from typing import Any

import click

from slipway.cli.options import columns, output_option, print_json, sentences
from slipway.cli.places import Local, Place, place_options
from slipway.cli.views import HEAD, local_view, tree


@click.command()
@click.argument("name")
@place_options
@output_option
@sentences
def command(name: str, place: Place, output: str) -> None:
    """Show all that is known of the service NAME.

    `slipway explain NAME` tells what is wrong with it, and no more.
    """
    if isinstance(place, Local):
        from slipway.cli.local_runs import service

        about = service(place, name)
        if output == "json":
            print_json(about)
        else:
            click.echo("\n".join(_local(about)))
        return
    from slipway.cli.cluster.cases import read_case
    from slipway.cli.cluster.describing import described
    from slipway.cli.cluster.sessions import on_cluster

    case = on_cluster(place, lambda session: read_case(session, name))
    if output == "json":
        print_json({"service": case.service, "pods": case.pods, "events": case.events})
    else:
        click.echo("\n".join(described(case)))


def _local(about: dict[str, Any]) -> list[str]:
    why = ": ".join(part for part in (about["reason"], about["message"]) if part)
    lines = [
        f"Name:      {about['name']}",
        f"Model:     {about['model']} ({about['task']})",
        f"State:     {about['state']}" + (f", {why}" if why else ""),
        f"Revision:  {about['revision']}",
        f"Replicas:  {about['readyReplicas']} of {about['replicas']} ready",
        "",
        *columns(HEAD, tree([local_view(about)], datetime.now(UTC))),
        "",
        "Logs:",
        *(f"  {row['name']}  {row['log']}" for row in about["processes"]),
    ]
    return lines
