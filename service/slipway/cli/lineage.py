"""`slipway lineage`: what an answer, a version or a dataset came from, and what came of it."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from slipway.cli.client import gateway, url_options
from slipway.cli.options import output_option, print_json, sentences, state_folder, state_option
from slipway.cli.workspaces import telling, workspace_of, workspace_option

if TYPE_CHECKING:
    from slipway.training.registry.lineage import Node

_REQUEST_ID = re.compile(r"req-[0-9a-f]{24}")
_LONGEST = 100


@click.command()
@click.argument("subject", metavar="REQUEST_ID|ADAPTER|DATASET")
@click.option("--request", is_flag=True, help="SUBJECT is the id of a request, whatever it looks like.")
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page with a picture there."
)
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Write the picture alone there.")
@workspace_option
@state_option
@url_options
@output_option
@sentences
@telling
def command(
    subject: str,
    request: bool,
    html: Path | None,
    svg: Path | None,
    workspace: str | None,
    state: Path | None,
    url: str | None,
    api_key: str | None,
    output: str,
) -> None:
    """Show where an answer, an adapter or a dataset came from, or what came of it.

    \b
    REQUEST_ID        the model that answered, and all that it was made of (asks the gateway)
    ADAPTER           NAME/VERSION of the registry, or a served name: its run, data, sources, evaluation, base
    DATASET           NAME/VERSION: its sources, and every version that was made of it
    """
    from slipway.training.registry.lineage import Lineage

    lineage = Lineage(workspace_of(workspace))
    if request or _REQUEST_ID.fullmatch(subject):
        usage = gateway(state, url, api_key).get(f"/v1/requests/{quote(subject, safe='')}")
        root = lineage.of_request(usage, _served(state))
    else:
        root = lineage.of(subject)
    _draw(root, html, svg)
    if output == "json":
        print_json(root.document())
        return
    for line in tree(root):
        click.echo(line)


def tree(node: "Node", before: str = "", branch: str = "") -> Iterator[str]:
    """A node and what is below it, a line for each, with its facts behind it."""
    facts = ", ".join(f"{name} {value}" for name, value in node.brief)
    text = f"{node.kind} {node.name}"
    shown = facts if len(facts) <= _LONGEST else f"{facts[: _LONGEST - 1]}…"
    yield f"{before}{branch}{text}{f'  ({shown})' if shown else ''}"
    inner = before + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
    for at, child in enumerate(node.children):
        yield from tree(child, inner, "└─ " if at == len(node.children) - 1 else "├─ ")


def _served(state: Path | None) -> list[dict[str, Any]]:
    """Adapters of the local run's services: those brought to running engines, and those of its objects."""
    from slipway.objects.loading import LoadError, load_file

    folder = state_folder(state)
    found: list[dict[str, Any]] = []
    # One that is there no more, or is being written: other ways to the answer remain.
    with suppress(OSError, ValueError, AttributeError):
        for brought in json.loads((folder.root / "adapters.json").read_text()).values():
            found += brought
    for path in sorted(folder.objects.glob("llmservice-*.yaml")):
        with suppress(OSError, LoadError):
            for service in load_file(path).services:
                found += [each.model_dump(mode="json", by_alias=True) for each in service.spec.adapters]
    return found


def _draw(root: "Node", html: Path | None, svg: Path | None) -> None:
    from slipway.training.registry.pictures import document, picture

    for path, make in ((html, document), (svg, picture)):
        if path is not None:
            path.write_text(make(root), encoding="utf-8")
            click.echo(f"Written to {path}.", err=True)
