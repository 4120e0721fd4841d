"""`slipway data`: versions of datasets, from their sources to files that others read."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from slipway.cli.data_exploration import report, tokens
from slipway.cli.data_feedback import drift, from_feedback
from slipway.cli.options import output_option, print_json, print_table
from slipway.cli.workspaces import telling, workspace_of, workspace_option

if TYPE_CHECKING:
    from slipway.training.data.versions import DatasetVersion, Manifest

_MODULE = "slipway.training.data"
_SHORT = 160


@click.group(name="data")
def command() -> None:
    """Prepare datasets, look at their versions, compare and export them."""


for _each in (report, tokens, from_feedback, drift):
    command.add_command(_each)


@command.command()
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="A FineTune, or what its `dataset` holds.",
)
@click.option("--name", help="Name of the dataset.  [default: the FineTune's, or the file's]")
@click.option("--ray", is_flag=True, help="Do the work on Ray Data; RAY_ADDRESS names the cluster.")
@workspace_option
def prepare(file: Path, name: str | None, ray: bool, workspace: str | None) -> None:
    """Prepare a version, or find the one that is there. Ctrl-C stops it; called again it goes on."""
    arguments = ["prepare", "--file", str(file)]
    arguments += ["--name", name] if name else []
    _run(workspace, [*arguments, *(["--ray"] if ray else [])])


@command.command()
@click.argument("dataset")
@click.option(
    "--format",
    "form",
    type=click.Choice(["openai", "jsonl", "parquet"]),
    default="openai",
    show_default=True,
    help="OpenAI's fine-tuning files, all columns as JSON, or the files themselves.",
)
@click.option(
    "--to", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write into."
)
@workspace_option
def export(dataset: str, form: str, to: Path, workspace: str | None) -> None:
    """Write DATASET (NAME or NAME/VERSION) in a format of others."""
    _run(workspace, ["export", dataset, "--format", form, "--to", str(to)])


@command.command("list")
@click.argument("name", required=False)
@workspace_option
@output_option
@telling
def list_(name: str | None, workspace: str | None, output: str) -> None:
    """List the versions of all datasets, or of NAME."""
    from slipway.training.data.versions import PARTS, versions

    found = versions(workspace_of(workspace), name)
    if output == "json":
        print_json(
            [each.manifest.model_dump(mode="json", exclude={"statistics", "changed"}) for each in found]
        )
        return
    if not found:
        click.echo("No datasets; make one with `slipway data prepare -f FILE`.")
        return
    rows = [
        [
            each.reference,
            each.manifest.format,
            *(each.count(part) for part in PARTS),
            sum(reason.count for reason in each.manifest.dropped),
            f"{each.manifest.created_at:%Y-%m-%d %H:%M}",
        ]
        for each in found
    ]
    print_table(["DATASET", "FORMAT", "TRAIN", "VALIDATION", "TEST", "DROPPED", "PREPARED"], rows)


@command.command()
@click.argument("dataset")
@workspace_option
@output_option
@telling
def show(dataset: str, workspace: str | None, output: str) -> None:
    """Show DATASET (NAME or NAME/VERSION): counts, what was dropped and why, where it comes from."""
    version = _open(workspace, dataset)
    manifest = version.manifest
    if output == "json":
        print_json(manifest.model_dump(mode="json"))
        return
    click.echo(f"{version.reference}   {manifest.digest}\n{version.folder}\n")
    print_table(
        ["PART", "ROWS", "AUGMENTED", "REPEATED", "LABELS"],
        [
            [part, each.rows, each.augmented, each.repeated, _few(each.labels)]
            for part, each in manifest.parts.items()
        ],
    )
    click.echo()
    print_table(
        ["SOURCE", "READ", "KEPT", "WEIGHT", "ADDRESS"],
        [[each.name, each.read, each.kept, each.weight, each.resolved] for each in manifest.sources],
    )
    for source in manifest.sources:
        for name in source.empty_files:
            click.echo(f"Source {source.name}: {name} is empty.")
    for title, counts in (
        ("CHANGED", manifest.changed),
        ("LANGUAGE", manifest.statistics.get("languages", {})),
    ):
        if counts:
            click.echo()
            print_table([title, "RECORDS"], sorted(counts.items(), key=lambda each: -each[1]))
    _show_dropped(manifest)


@command.command()
@click.argument("dataset")
@workspace_option
@telling
def verify(dataset: str, workspace: str | None) -> None:
    """Check that the files of DATASET (NAME or NAME/VERSION) are as they were written."""
    from slipway.training.data.versions import damage

    version = _open(workspace, dataset)
    faults = damage(version)
    for fault in faults:
        click.echo(f"{version.reference}: {fault}", err=True)
    if faults:
        raise click.ClickException(
            f"{version.reference} is damaged; remove {version.folder} and prepare it anew."
        )
    click.echo(f"{version.reference}: every file is as it was written.")


@command.command()
@click.argument("before")
@click.argument("after")
@workspace_option
@telling
def diff(before: str, after: str, workspace: str | None) -> None:
    """Compare two versions: what went into them, and what came of it."""
    old, new = (_facts(_open(workspace, each).manifest) for each in (before, after))
    rows = [
        [what, old.get(what, "-"), new.get(what, "-")]
        for what in dict.fromkeys((*old, *new))
        if old.get(what) != new.get(what)
    ]
    if rows:
        print_table(["", before, after], rows)
    else:
        click.echo("They are the same.")


def _facts(manifest: "Manifest") -> dict[str, str]:
    """What two versions can differ in, in words."""
    facts = {"digest": manifest.digest, "format": manifest.format}
    facts |= {f"rows of {part}": str(each.rows) for part, each in manifest.parts.items()}
    for source in manifest.sources:
        facts[f"source {source.name}"] = source.digest
        facts[f"source {source.name}, read"] = str(source.read)
        facts[f"source {source.name}, weight"] = source.weight
    for number, step in enumerate((*manifest.preparation, *manifest.augmentation), 1):
        facts[f"step {number}"] = f"{step['name']} {step['options'] or ''}".strip()
    facts |= {f"split, {name}": str(value) for name, value in manifest.split.items()}
    facts |= {f"code, {name}": value for name, value in manifest.code.items()}
    facts |= {f"dropped, {each.reason}": str(each.count) for each in manifest.dropped}
    return facts | {f"changed, {what}": str(count) for what, count in manifest.changed.items()}


def _show_dropped(manifest: "Manifest") -> None:
    if not manifest.dropped:
        click.echo("\nNothing was dropped.")
        return
    click.echo()
    print_table(["DROPPED", "RECORDS"], [[each.reason, each.count] for each in manifest.dropped])
    for each in manifest.dropped:
        for example in each.examples:
            click.echo(f"\n{each.reason}: {example.source}, {example.place}: {example.detail}")
            click.echo(f"  {_one_line(example.excerpt)}")


def _one_line(text: str) -> str:
    # Data may hold what would drive a terminal.
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return shown if len(shown) <= _SHORT else f"{shown[:_SHORT]}…"


def _few(labels: dict[str, int]) -> str:
    shown = ", ".join(f"{label}: {count}" for label, count in list(labels.items())[:8])
    return shown + (", …" if len(labels) > 8 else "") or "-"


def _open(workspace: str | None, dataset: str) -> "DatasetVersion":
    from slipway.training.data.versions import DatasetVersion

    return DatasetVersion.open(workspace_of(workspace), dataset)


def _run(workspace: str | None, arguments: list[str]) -> None:
    """Do it in the training environment, and end as it ends."""
    from slipway.cli.training_python import run_in_training

    sys.exit(run_in_training(_MODULE, ["--workspace", str(workspace_of(workspace).root), *arguments]))
