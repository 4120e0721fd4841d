"""`slipway status`."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from slipway.cli.options import output_option, print_json, print_table, sentences, state_folder, state_option


@click.command()
@state_option
@output_option
@sentences
def command(state: Path | None, output: str) -> None:
    """Show what runs: services, replicas, addresses.

    Exit code 0 if all is ready, 1 otherwise. The shape of `-o json` is that of status.json in
    docs/architecture.md.
    """
    from slipway.local.following import observed

    report = observed(state_folder(state))
    if output == "json":
        print_json(report)
    else:
        _print(report)
    sys.exit(0 if report["ready"] else 1)


def _print(report: dict[str, Any]) -> None:
    supervisor, gateway = report["supervisor"], report["gateway"]
    if supervisor["pid"] is None:
        click.echo(f"Nothing runs. {supervisor['message']}".rstrip())
        return
    about = f" since {_age(supervisor['startedAt'])}, pid {supervisor['pid']}"
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
            rows.append([*shown, _age(row["startedAt"]), _why(row)])
    if rows:
        print_table(["SERVICE", "READY", "REVISION", "STATE", "ADDRESS", "RESTARTS", "AGE", "MESSAGE"], rows)
    else:
        click.echo("No services.")


def _why(row: dict[str, Any]) -> str:
    """Reason and message on one line."""
    text = ": ".join(part for part in (row["reason"], " ".join(row["message"].split())) if part)
    return text if len(text) <= 160 else f"{text[:159]}…"


def _age(stamp: str | None) -> str:
    """How long ago, as kubectl writes it: 12s, 5m, 3h, 2d."""
    if stamp is None:
        return "-"
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"
