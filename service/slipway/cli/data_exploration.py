"""`slipway data report` and `slipway data tokens`: what is in a version of a dataset."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from slipway.cli.options import output_option, print_json, print_table
from slipway.cli.workspaces import elsewhere, telling, workspace_of, workspace_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slipway.training.data.versions import DatasetVersion, Part

_SAMPLE = 20_000
_model_option = click.option("--model", help="Source of the base model, whose tokenizer is measured too.")
_sample_option = click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=_SAMPLE,
    show_default=True,
    help="Rows of each part that are looked at closely.",
)


@click.command()
@click.argument("dataset")
@_model_option
@_sample_option
@workspace_option
@telling
def report(dataset: str, model: str | None, sample: int, workspace: str | None) -> None:
    """Write the exploration report of DATASET (NAME or NAME/VERSION), and say what is wrong with it."""
    elsewhere("matplotlib")
    from slipway.training.data.versions import DatasetVersion
    from slipway.training.exploration.report import write
    from slipway.training.exploration.statistics import explore
    from slipway.training.exploration.warnings import warnings

    version = DatasetVersion.open(workspace_of(workspace), dataset)
    statistics = explore(version, model=_folder(model), sample=sample)
    for warning in warnings(statistics):
        click.echo(f"Warning: {warning}")
    click.echo(write(version, statistics))


@click.command()
@click.argument("dataset")
@_model_option
@click.option(
    "--vocabulary",
    type=click.IntRange(min=100, max=1_000_000),
    default=8000,
    show_default=True,
    help="Tokens of each vocabulary that is made, at most.",
)
@_sample_option
@workspace_option
@output_option
@telling
def tokens(
    dataset: str, model: str | None, vocabulary: int, sample: int, workspace: str | None, output: str
) -> None:
    """Compare words, characters and sub-words as tokens of DATASET (NAME or NAME/VERSION).

    Vocabularies are made of the training part and measured on validation, or on the training part where there
    is none. FERTILITY is tokens a word, CUT UP the share of words that are several tokens.
    """
    elsewhere("tokenizers")
    from slipway.training.data.versions import DatasetVersion
    from slipway.training.exploration.tokenizing import compare

    version = DatasetVersion.open(workspace_of(workspace), dataset)
    measured_on: Part = "validation" if version.count("validation") else "train"
    found = compare(
        _texts(version, "train"),
        _texts(version, measured_on),
        vocabulary=vocabulary,
        model=_folder(model),
        most=sample,
    )
    if output == "json":
        print_json({"measuredOn": measured_on, "tokenizers": [each.document() for each in found]})
        return
    click.echo(f"Made of train, measured on {measured_on}.\n")
    rows = [
        [
            each.name,
            each.vocabulary,
            each.tokens,
            each.lengths.quantile(0.5),
            each.lengths.longest,
            f"{each.fertility:.2f}",
            f"{each.continued:.1%}",
            f"{each.characters_per_token:.2f}",
            f"{each.unknown_share:.2%}",
        ]
        for each in found
    ]
    head = [
        "TOKENS",
        "VOCABULARY",
        "ALL",
        "MEDIAN",
        "LONGEST",
        "FERTILITY",
        "CUT UP",
        "CHARACTERS",
        "UNKNOWN",
    ]
    print_table(head, rows)


def _texts(version: "DatasetVersion", part: "Part") -> "Iterator[str]":
    from slipway.training.data.identities import text_of

    return (text_of(record) for record in version.rows(part) if not record["augmented"])


def _folder(model: str | None) -> Path | None:
    if model is None:
        return None
    from slipway.sources import SourceError, fetch

    try:
        return fetch(model).path
    except SourceError as error:
        raise click.ClickException(str(error)) from None
