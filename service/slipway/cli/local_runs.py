"""What the commands know of a local run: services of its status, objects of its state folder."""

import difflib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from slipway.cli.places import Local
from slipway.cli.views import ServiceView, local_view

_END_BYTES = 16 * 1024
_FILES = {"keys": "apikey", "routes": "modelroute", "owners": "owner"}


def report(place: Local) -> dict[str, Any]:
    """The run's status as it is true now."""
    from slipway.local.following import observed

    return observed(place.folder)


def views(place: Local, name: str | None = None) -> list[ServiceView]:
    """The services of the run; with `name` that one alone. Raises ClickException if there is none."""
    found = report(place)["services"]
    return [local_view(each) for each in (found if name is None else [_named(place, found, name)])]


def service(place: Local, name: str) -> dict[str, Any]:
    """One service of the run's status. Raises ClickException if there is none."""
    return _named(place, report(place)["services"], name)


def ends_of_logs(about: dict[str, Any]) -> dict[str, str]:
    """The ends of the logs of a service's replicas, by replica; those that cannot be read are left out."""
    texts: dict[str, str] = {}
    for row in about["processes"]:
        with suppress(OSError), Path(row["log"]).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _END_BYTES))
            texts[row["name"]] = file.read().decode(errors="replace")
    return texts


def _named(place: Local, found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for each in found:
        if each["name"] == name:
            return each
    known = [each["name"] for each in found]
    if not known:
        raise click.ClickException(
            f"Nothing runs in {place.folder.root}: start it with `slipway up`, or name a cluster's namespace"
            " with -n."
        )
    like = difflib.get_close_matches(name, known, n=3) or sorted(known)[:10]
    raise click.ClickException(f"The run has no service {name!r}; there are {', '.join(like)}.")


def objects(place: Local, kind: str, name: str | None) -> list[dict[str, Any]]:
    """Keys, routes or owners of the state folder, without fields that are not set."""
    from slipway.objects.loading import load_file

    found: list[dict[str, Any]] = []
    for path in sorted(place.folder.objects.glob(f"{_FILES[kind]}-*.yaml")):
        loaded = load_file(path)
        found += [
            each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in getattr(loaded, kind)
        ]
    if name is None:
        return found
    named = [each for each in found if each["metadata"]["name"] == name]
    if not named:
        known = ", ".join(each["metadata"]["name"] for each in found) or "none"
        raise click.ClickException(f"There is no {name!r} among the {kind}; there is {known}.")
    return named


def only_on_cluster(what: str, instead: str) -> click.ClickException:
    """Says that a local run does not have it."""
    return click.ClickException(
        f"A local run has no {what}: {instead} On a cluster, name its namespace with -n."
    )
