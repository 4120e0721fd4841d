"""`slipway get`."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from slipway.cli.options import output_option, print_json, print_table, sentences
from slipway.cli.places import Cluster, Local, Place, place_options
from slipway.cli.screens import Screen
from slipway.cli.views import HEAD, ServiceView, age, changes, table, tree

KINDS = ("services", "keys", "routes", "owners")
_TABLE = ("NAME", "MODEL", "READY", "STATE", "REVISION", "AGE", "REASON")
_LOOK_S = 0.5


@click.command()
@click.argument("kind", type=click.Choice(KINDS), default="services")
@click.argument("name", required=False)
@click.option("-w", "--watch", is_flag=True, help="Services as a live tree, with revisions and replicas.")
@place_options
@output_option
@sentences
def command(kind: str, name: str | None, watch: bool, place: Place, output: str) -> None:
    """List services, keys, routes or owners; with --watch follow the services.

    \b
    Examples:
      slipway get
      slipway get keys
      slipway get -w
    """
    if watch:
        if kind != "services" or output != "table":
            raise click.UsageError("--watch shows services, as a tree: leave the kind and --output out.")
        _watch(place, name)
    elif kind == "services":
        found = services(place, name)
        if output == "table" and not found and isinstance(place, Local):
            click.echo("No services run here; `slipway up` starts some.")
        else:
            _print_services(found, output)
    else:
        print_objects(kind, read_objects(place, kind, name), output)


def services(place: Place, name: str | None = None) -> list[ServiceView]:
    """The services there; with `name` that one alone. Raises ClickException if there is none."""
    if isinstance(place, Local):
        from slipway.cli.local_runs import views

        return views(place, name)
    from slipway.cli.cluster.reading import read_views
    from slipway.cli.cluster.sessions import on_cluster

    return on_cluster(place, lambda session: read_views(session, name))


def _print_services(found: list[ServiceView], output: str) -> None:
    if output == "json":
        print_json([asdict(each) for each in found])
    elif not found:
        click.echo("No services.")
    else:
        now = datetime.now(UTC)
        rows = [
            [row[0], view.model, row[1], row[2], view.revision or "-", *row[6:]]
            for row, view in zip(table(found, now), found, strict=True)
        ]
        print_table(_TABLE, rows)


def _watch(place: Place, name: str | None) -> None:
    try:
        if isinstance(place, Cluster):
            from slipway.cli.cluster.sessions import on_cluster
            from slipway.cli.cluster.watching import watch_services

            on_cluster(place, lambda session: watch_services(session, name))
        else:
            _watch_locally(place, name)
    except KeyboardInterrupt:
        sys.exit(130)


def _watch_locally(place: Local, name: str | None) -> None:
    import time

    screen, shown = Screen(sys.stdout), list[ServiceView]()
    while True:
        found, now = services(place, name), datetime.now(UTC)
        if sys.stdout.isatty():
            screen.draw(HEAD, tree(found, now))
        else:
            for line in changes(shown, found):
                click.echo(f"{now:%H:%M:%S}  {line}")
        shown = found
        time.sleep(_LOOK_S)


# --- keys, routes, owners --------------------------------------------------------------------------


def read_objects(place: Place, kind: str, name: str | None) -> list[dict[str, Any]]:
    """Keys, routes or owners; with `name` that one alone. Raises ClickException if there is none."""
    if isinstance(place, Local):
        from slipway.cli.local_runs import objects

        return objects(place, kind, name)
    from slipway.cli.cluster import reading
    from slipway.cli.cluster.sessions import on_cluster

    return on_cluster(place, lambda session: reading.read_objects(session, kind, name))


def print_objects(kind: str, found: list[dict[str, Any]], output: str) -> None:
    """Print them as a table or as JSON."""
    if output == "json":
        print_json(found)
        return
    if not found:
        click.echo(f"No {kind}.")
        return
    head, row = _COLUMNS[kind]
    rows = [[_label(item), *row(item), age(item["metadata"].get("creationTimestamp"))] for item in found]
    print_table(["NAME", *head, "AGE"], rows)


def _label(item: dict[str, Any]) -> str:
    namespace = item["metadata"].get("namespace")
    return f"{namespace}/{item['metadata']['name']}" if namespace else str(item["metadata"]["name"])


def _key(item: dict[str, Any]) -> list[object]:
    spec = item["spec"]
    conditions = (item.get("status") or {}).get("conditions") or []
    ready = next((each["reason"] for each in conditions if each["type"] == "Ready"), "")
    state = ready or ("Disabled" if spec.get("disabled") else "Active")
    models = ",".join(spec.get("models") or ["*"])
    return [spec.get("owner", "default"), spec.get("role", "member"), models,
            spec.get("expiresAt") or "never", state]  # fmt: skip


def _route(item: dict[str, Any]) -> list[object]:
    spec = item["spec"]
    targets = ",".join(f"{each['model']}={each.get('weight', 1)}" for each in spec["targets"])
    return [
        spec.get("name") or item["metadata"]["name"],
        targets,
        ",".join(spec.get("fallbacks") or []) or "-",
    ]


def _owner(item: dict[str, Any]) -> list[object]:
    spec = item["spec"]
    shown = [spec.get("name") or item["metadata"]["name"], spec.get("role", "member")]
    return [*shown, ",".join(spec.get("models") or ["*"])]


_COLUMNS: dict[str, tuple[list[str], Callable[[dict[str, Any]], list[object]]]] = {
    "keys": (["OWNER", "ROLE", "MODELS", "EXPIRES", "STATE"], _key),
    "routes": (["MODEL", "TARGETS", "FALLBACKS"], _route),
    "owners": (["OWNER", "ROLE", "MODELS"], _owner),
}
