"""`slipway logs`."""

import sys
import time
from pathlib import Path
from typing import Any

import click

from slipway.cli.options import sentences
from slipway.cli.places import Local, Place, place_options

_LOOK_S = 0.3


@click.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come, also of replicas that are new.")
@click.option("--revision", metavar="REVISION", help="Of this revision alone; its beginning is enough.")
@click.option("--previous", is_flag=True, help="Cluster: of containers as they ended last.")
@click.option("--tail", type=click.IntRange(min=0), default=100, show_default=True, metavar="N",
              help="Lines of each replica to begin with.")  # fmt: skip
@place_options
@sentences
def command(name: str, follow: bool, revision: str | None, previous: bool, tail: int, place: Place) -> None:
    """Print the logs of the engines of the service NAME.

    With several replicas each line begins with the name of its own.
    """
    if follow and previous:
        raise click.UsageError("--previous is over, and cannot be followed; leave one out.")
    try:
        if isinstance(place, Local):
            if previous:
                raise click.ClickException(
                    "A local run keeps a replica's restarts in one log: leave --previous out."
                )
            _locally(place, name, follow, revision, tail)
            return
        from slipway.cli.cluster.logs import Wanted, print_logs
        from slipway.cli.cluster.sessions import on_cluster

        wanted = Wanted(name, revision, previous, tail)
        on_cluster(place, lambda session: print_logs(session, wanted, follow, click.echo))
    except KeyboardInterrupt:
        sys.exit(130)


def _locally(place: Local, name: str, follow: bool, revision: str | None, tail: int) -> None:
    from slipway.cli.local_runs import ends_of_logs, service
    from slipway.local.logs import Tail

    tails: dict[str, Tail] = {}
    first = True
    while True:
        rows = [row for row in service(place, name)["processes"] if _fits(row, revision)]
        if not rows and not follow:
            raise click.ClickException(
                f"{name} has no replica{f' of revision {revision}' if revision else ''}."
            )
        several = len(rows) > 1
        for row in rows:
            if row["name"] not in tails:
                tails[row["name"]] = Tail(Path(row["log"]))
                text = ends_of_logs({"processes": [row]}).get(row["name"], "") if first else ""
                _print(row, text.splitlines()[-tail:] if tail else [], several)
        if not follow:
            return
        first = False
        for row in rows:
            _print(row, tails[row["name"]].read().decode(errors="replace").splitlines(), several)
        time.sleep(_LOOK_S)


def _fits(row: dict[str, Any], revision: str | None) -> bool:
    return revision is None or str(row["revision"]).startswith(revision)


def _print(row: dict[str, Any], lines: list[str], several: bool) -> None:
    for line in lines:
        click.echo(f"{row['name']}  {line}" if several else line)
