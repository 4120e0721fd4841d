"""`slipway status`."""

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from slipway.cli.options import output_option, print_json, print_table, sentences
from slipway.cli.places import Cluster, Place, place_options
from slipway.cli.views import HEAD, age, tree


@click.command()
@place_options
@output_option
@sentences
def command(place: Place, output: str) -> None:
    """Show what runs: services, replicas, addresses; on a cluster also operator and gateways.

    Exit code 0 if all is ready, 1 otherwise. The shape of `-o json` of a local run is that of status.json in
    docs/architecture.md.
    """
    if isinstance(place, Cluster):
        _on_cluster(place, output)
        return
    from slipway.cli.local_runs import report

    found = report(place)
    if output == "json":
        print_json(found)
    else:
        _print(found)
    sys.exit(0 if found["ready"] else 1)


def _on_cluster(place: Cluster, output: str) -> None:
    from slipway.cli.cluster.reading import read_state
    from slipway.cli.cluster.sessions import on_cluster

    state = on_cluster(place, read_state)
    if output == "json":
        print_json({**asdict(state), "ready": state.ready})
    else:
        click.echo(f"Cluster: {state.server}, {state.where}")
        click.echo(f"Operator: {state.operator}")
        click.echo(f"Gateways: {state.gateways}")
        click.echo()
        if state.services:
            print_table(HEAD, tree(state.services, datetime.now(UTC)))
        else:
            click.echo("No services.")
    sys.exit(0 if state.ready else 1)


def _print(report: dict[str, Any]) -> None:
    supervisor, gateway = report["supervisor"], report["gateway"]
    if supervisor["pid"] is None:
        click.echo(f"Nothing runs. {supervisor['message']}".rstrip())
        return
    about = f" since {age(supervisor['startedAt'])}, pid {supervisor['pid']}"
    click.echo(f"Run: {supervisor['state'].lower()}{about}")
    message = f", {gateway['message']}" if gateway["message"] else ""
    restarts = f", {gateway['restarts']} restarts" if gateway["restarts"] else ""
    click.echo(
        f"Gateway: {gateway['url']}, {gateway['state'].lower()}{message}, pid {gateway['pid']}{restarts}"
    )
    click.echo()
    rows: list[list[object]] = []
    for service in report["services"]:
        ready = f"{service['readyReplicas']}/{service['replicas']}"
        head = [service["name"], ready, service["revision"], service["state"]]
        rows.append([*head, "-", "-", "-", _why(service)])
        for row in service["processes"]:
            name = f"  {row['name']}"
            shown = [name, "", row["revision"], row["state"], row["address"] or "-", row["restarts"]]
            rows.append([*shown, age(row["startedAt"]), _why(row)])
    if rows:
        print_table(["SERVICE", "READY", "REVISION", "STATE", "ADDRESS", "RESTARTS", "AGE", "MESSAGE"], rows)
    else:
        click.echo("No services.")


def _why(row: dict[str, Any]) -> str:
    """Reason and message on one line."""
    text = ": ".join(part for part in (row["reason"], " ".join(row["message"].split())) if part)
    return text if len(text) <= 160 else f"{text[:159]}…"
