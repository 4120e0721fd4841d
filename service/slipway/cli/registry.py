"""`slipway registry`: list, show, compare, promote, retire, verify, pull, push, gc."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slipway.cli.options import output_option, print_json, print_table, state_folder
from slipway.cli.views import age
from slipway.cli.workspaces import elsewhere, telling, workspace_of, workspace_option

if TYPE_CHECKING:
    from slipway.training.registry.records import Record
    from slipway.training.registry.store import Registry

_METRICS = 3


@click.group()
def command() -> None:
    """Finished adapters and models: versions with their record and model card."""


@command.command("list")
@click.argument("name", required=False)
@workspace_option
@output_option
@telling
def list_(name: str | None, workspace: str | None, output: str) -> None:
    """List the versions of NAME, or of all names."""
    registry = _registry(workspace)
    records = (
        [registry.record(name, each) for each in registry.versions(name)]
        if name
        else list(registry.records())
    )
    if output == "json":
        print_json([_document(registry, record) for record in records])
        return
    head = ["VERSION", "STAGE", "KIND", "BASE", "DATA", "METRICS", "SIZE", "AGE"]
    print_table(head, [_row(registry, record) for record in records])


@command.command()
@click.argument("reference", metavar="NAME[/VERSION]")
@click.option("--card", is_flag=True, help="Print the model card alone.")
@workspace_option
@output_option
@telling
def show(reference: str, card: bool, workspace: str | None, output: str) -> None:
    """Show all that is known of a version; of NAME alone the promoted one, or the newest."""
    registry = _registry(workspace)
    record = _named(registry, reference)
    if card:
        text = (registry.folder(record.name, record.version) / "README.md").read_text(encoding="utf-8")
        click.echo(text, nl=False)
        return
    if output == "json":
        print_json(_document(registry, record))
        return
    for name, value in _facts(registry, record):
        click.echo(f"{name + ':':18}{value}")
    for warning in record.licence.warnings:
        click.echo(f"{'Look at this:':18}{warning}")


@command.command()
@click.argument("first", metavar="NAME/VERSION")
@click.argument("second", metavar="NAME/VERSION")
@click.option("--all", "everything", is_flag=True, help="Also what is the same.")
@workspace_option
@output_option
@telling
def compare(first: str, second: str, everything: bool, workspace: str | None, output: str) -> None:
    """Show in what two versions differ: metrics with their intervals, hyperparameters, data, base, code."""
    registry = _registry(workspace)
    records = [_named(registry, each) for each in (first, second)]
    rows = [row for row in _differences(*records) if everything or row[1] != row[2]]
    if output == "json":
        print_json([dict(zip(("name", "first", "second", "change"), row, strict=True)) for row in rows])
        return
    if not rows:
        click.echo("They do not differ.")
        return
    print_table(["", *(record.reference for record in records), "CHANGE"], rows)


@command.command()
@click.argument("reference", metavar="NAME/VERSION")
@click.option("--note", default="", help="Why, in words.")
@workspace_option
@telling
def promote(reference: str, note: str, workspace: str | None) -> None:
    """Make a version the one that is to be used; the one before is retired."""
    registry = _registry(workspace)
    record = _named(registry, reference)
    before = registry.promote(record.name, record.version, note)
    click.echo(f"{record.reference} is promoted{f'; {before} is retired' if before else ''}.")


@command.command()
@click.argument("reference", metavar="NAME/VERSION")
@click.option("--note", default="", help="Why, in words.")
@workspace_option
@telling
def retire(reference: str, note: str, workspace: str | None) -> None:
    """Say that a version is not to be used any more; `gc` may take it away later."""
    registry = _registry(workspace)
    record = _named(registry, reference)
    registry.retire(record.name, record.version, note)
    click.echo(f"{record.reference} is retired.")


@command.command()
@click.argument("references", metavar="[NAME[/VERSION]]...", nargs=-1)
@workspace_option
@telling
def verify(references: Sequence[str], workspace: str | None) -> None:
    """Read every byte of versions (all, if none is named) and compare them with their records.

    Exit code 1 if anything is not as it was registered.
    """
    registry = _registry(workspace)
    damaged = False
    for name, version in _chosen(registry, references):
        faults = registry.verify(name, version)
        damaged = damaged or bool(faults)
        click.echo(f"{name}/{version}: {'; '.join(faults) if faults else 'as it was registered'}")
    raise SystemExit(1 if damaged else 0)


@command.command()
@click.argument("reference", metavar="NAME[/VERSION]")
@click.argument("place")
@workspace_option
@telling
def push(reference: str, place: str, workspace: str | None) -> None:
    """Copy a version to PLACE: s3://bucket/prefix or file:///folder."""
    _for_buckets(place)
    from slipway.training.registry.remotes import push as copy

    registry = _registry(workspace)
    click.echo(f"Copied to {copy(registry, _named(registry, reference), place)}.")


@command.command()
@click.argument("place")
@click.argument("reference", metavar="NAME[/VERSION]")
@click.option("--digest", help="Take it only if this is its digest: sha256:…")
@workspace_option
@telling
def pull(place: str, reference: str, digest: str | None, workspace: str | None) -> None:
    """Take a version from PLACE, of NAME alone the newest one there; all is compared with its record."""
    _for_buckets(place)
    from slipway.training.registry.remotes import pull as take

    name, _, version = reference.partition("/")
    record = take(_registry(workspace), place, name, version or None, digest)
    click.echo(f"{record.reference} is here ({record.digest}).")


@command.command()
@click.option(
    "--keep", type=click.IntRange(min=0), default=3, show_default=True, help="Newest versions that stay."
)
@click.option(
    "--older-than", default="24h", show_default=True, metavar="TIME", help="How long they stood so: 30m, 24h."
)
@click.option(
    "--in-use",
    type=click.File(),
    multiple=True,
    help="Objects that use versions, such as of `kubectl get llm,ft -A -o yaml`; - is standard input.",
)
@click.option(
    "--state",
    "states",
    type=click.Path(path_type=Path, file_okay=False),
    multiple=True,
    help="State folders of local runs that use versions.  [default: ~/.local/state/slipway]",
)
@click.option("--yes", is_flag=True, help="Remove them; without it they are only listed.")
@workspace_option
@output_option
@telling
def gc(
    keep: int,
    older_than: str,
    in_use: Sequence[Any],
    states: Sequence[Path],
    yes: bool,
    workspace: str | None,
    output: str,
) -> None:
    """Remove retired versions and old candidates that nothing uses.

    What is promoted, deployed (by the objects and the status of a state folder, or by --in-use), the newest
    result of a run, or what a kept version was made of stays.
    """
    from slipway.training.registry.collecting import Policy, collect
    from slipway.training.registry.collecting import in_use as used

    space, texts = workspace_of(workspace), [each.read() for each in in_use]
    folders = [state_folder(each).root for each in states] or [state_folder(None).root]
    verdicts = collect(
        _registry(workspace),
        lambda: used(folders, space.runs, texts),
        Policy(keep, timedelta(seconds=_seconds(older_than))),
        dry=not yes,
    )
    if output == "json":
        print_json(
            [
                {
                    "version": each.record.reference,
                    "removed": each.goes and yes,
                    "goes": each.goes,
                    "why": each.why,
                }
                for each in verdicts
            ]
        )
        return
    word = "removed" if yes else "would go"
    rows = [
        (each.record.reference, _size(each.record.size), word if each.goes else "stays", each.why)
        for each in verdicts
    ]
    print_table(["VERSION", "SIZE", "", "WHY"], rows)
    freed = sum(each.record.size for each in verdicts if each.goes)
    hint = "" if yes or not freed else " Run it with --yes to remove them."
    click.echo(f"{_size(freed)} {'freed' if yes else 'would be freed'}.{hint}")


def _registry(workspace: str | None) -> "Registry":
    from slipway.training.registry.store import Registry

    return Registry.of(workspace_of(workspace))


def _named(registry: "Registry", reference: str) -> "Record":
    name, _, version = reference.partition("/")
    return registry.record(name, version or registry.newest(name))


def _chosen(registry: "Registry", references: Sequence[str]) -> list[tuple[str, str]]:
    chosen = []
    for reference in references or registry.names():
        name, _, version = reference.partition("/")
        versions = [version] if version else registry.versions(name)
        if not versions:
            registry.newest(name)  # Says what there is.
        chosen += [(name, each) for each in versions]
    return chosen


def _document(registry: "Registry", record: "Record") -> dict[str, Any]:
    standing = registry.standing(record.name, record.version)
    uri = registry.folder(record.name, record.version).as_uri()
    return {**standing.model_dump(mode="json"), "uri": uri, **record.model_dump(mode="json")}


def _row(registry: "Registry", record: "Record") -> list[object]:
    known = [(name, value) for name, value in record.evaluation.metrics.items() if value is not None]
    return [
        record.reference,
        registry.standing(record.name, record.version).stage,
        record.kind,
        record.base_model.name,
        record.dataset.version if record.dataset else "-",
        ", ".join(f"{name} {value:.4g}" for name, value in known[:_METRICS]) or "-",
        _size(record.size),
        age(record.created_at.isoformat()),
    ]


def _facts(registry: "Registry", record: "Record") -> list[tuple[str, object]]:
    standing = registry.standing(record.name, record.version)
    energy, data = record.energy, record.dataset
    spent = "not measured"
    if energy.energy_kwh is not None and energy.emissions_kg is not None:
        word = "estimated" if energy.estimated else "measured"
        spent = (
            f"{energy.energy_kwh:.3g} kWh, {energy.emissions_kg * 1000:.3g} g CO2e ({word}: {energy.method})"
        )
    metrics = {
        name: (f"{value:.4g}" if value is not None else "undefined") + _interval(record, name)
        for name, value in sorted(record.evaluation.metrics.items())
    }
    return [
        ("Version", record.reference),
        ("Stage", f"{standing.stage}{f', {standing.note}' if standing.note else ''}"),
        ("Digest", record.digest),
        ("Files", registry.folder(record.name, record.version)),
        ("Size", f"{_size(record.size)} in {len(record.files)} files"),
        ("Kind", f"{record.kind}, {record.method}" if record.method else record.kind),
        ("Base model", record.base_model.resolved or record.base_model.source),
        ("Data", f"{data.version} ({data.digest})" if data else "none"),
        *([("Made of", ", ".join(record.parents))] if record.parents else []),
        ("Hours", f"{energy.hours:.3g} ({energy.cpu_hours:.3g} of processor time)"),
        ("Energy", spent),
        ("Licence", record.licence.id),
        *((name, value) for name, value in metrics.items()),
    ]


def _interval(record: "Record", name: str) -> str:
    found = record.evaluation.intervals.get(name)
    return f"  [{found[0]:.4g}, {found[1]:.4g}]" if found else ""


def _differences(first: "Record", second: "Record") -> list[tuple[str, str, str, str]]:
    """Rows of name, one, other, change."""
    rows = []
    names = sorted({*first.evaluation.metrics, *second.evaluation.metrics})
    for name in names:
        values = [record.evaluation.metrics.get(name) for record in (first, second)]
        shown = [
            "-" if value is None else f"{value:.4g}{_interval(record, name)}"
            for value, record in zip(values, (first, second), strict=True)
        ]
        change = f"{values[1] - values[0]:+.4g}" if values[0] is not None and values[1] is not None else ""
        rows.append((name, shown[0], shown[1], change))
    plain = [_plain(record) for record in (first, second)]
    named = dict.fromkeys([*plain[0], *plain[1]])
    return rows + [(name, plain[0].get(name, "-"), plain[1].get(name, "-"), "") for name in named]


def _plain(record: "Record") -> dict[str, str]:
    about = {
        "data": record.dataset.version if record.dataset else "-",
        "base model": record.base_model.resolved or record.base_model.source,
        "base digest": record.base_model.digest or "-",
        "method": record.method,
        "licence": record.licence.id,
        "slipway": f"{record.code.slipway} {record.code.commit}".strip(),
        "size": _size(record.size),
        "hours": f"{record.energy.hours:.3g}",
    }
    about |= {f"hyperparameters.{name}": str(value) for name, value in sorted(record.hyperparameters.items())}
    return about | record.code.packages


def _for_buckets(place: str) -> None:
    if place.startswith("s3://"):
        elsewhere("s3fs")


def _seconds(span: str) -> int:
    from pydantic import TypeAdapter, ValidationError

    from slipway.objects.scalars import Duration

    try:
        return TypeAdapter(Duration).validate_python(span).seconds
    except ValidationError:
        raise click.BadParameter(
            f"{span!r} is no time: write 30m, 24h or 1h30m.", param_hint="--older-than"
        ) from None


def _size(count: int) -> str:
    if count < 1e4:
        return f"{count} B"
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.2f} MB"
