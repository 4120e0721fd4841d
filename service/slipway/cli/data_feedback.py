"""`slipway data from-feedback` and `slipway data drift`: what users say, as data and as a warning."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slipway.cli.client import Gateway, gateway, url_options
from slipway.cli.options import output_option, print_json, print_table, state_option
from slipway.cli.workspaces import elsewhere, telling, workspace_of, workspace_option

if TYPE_CHECKING:
    from slipway.training.data.versions import DatasetVersion
    from slipway.training.drift import Profile

DRIFTED = 3
"""Exit code where something has changed."""
_PAGE = 100
_SAMPLE = 20_000


@click.command("from-feedback")
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file to write, such as feedback.jsonl.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["chat", "preference"]),
    default="chat",
    show_default=True,
    help="Answers that were good or corrected; or corrections with the answers they correct.",
)
@click.option("--model", help="Feedback on answers of this model alone.")
@click.option("--since", type=click.DateTime(), help="Feedback given then or later (UTC).")
@state_option
@url_options
@output_option
@telling
def from_feedback(
    to: Path,
    form: Any,
    model: str | None,
    since: datetime | None,
    state: Path | None,
    url: str | None,
    api_key: str | None,
    output: str,
) -> None:
    """Write what users said of answers as a source of a dataset.

    Only feedback that came with its conversation is taken, which its user agreed to be kept. Personal data is
    redacted. An admin's key sees everybody's feedback, another one its owner's.
    """
    elsewhere("presidio_analyzer")
    from slipway.training.data.steps.personal import redactor
    from slipway.training.feedback import collect

    found = said(gateway(state, url, api_key), model, since)
    collected = collect(found, form, redactor().redact, to)
    if output == "json":
        print_json(
            {
                "file": str(to),
                "written": collected.written,
                "skipped": dict(collected.skipped),
                "redacted": dict(collected.redacted),
            }
        )
        return
    click.echo(f"{collected.written} records in {to}")
    for why, count in collected.skipped.most_common():
        click.echo(f"{count} left out: {why}")
    for kind, count in collected.redacted.most_common():
        click.echo(f"{count} with {kind} redacted")


@click.command("drift")
@click.argument("dataset")
@click.option("--model", help="Feedback on answers of this model alone.")
@click.option(
    "--since",
    type=click.DateTime(),
    help="What came then or later (UTC) is compared.  [default: since DATASET was prepared]",
)
@workspace_option
@state_option
@url_options
@output_option
@click.pass_context
@telling
def drift(
    context: click.Context,
    dataset: str,
    model: str | None,
    since: datetime | None,
    workspace: str | None,
    state: Path | None,
    url: str | None,
    api_key: str | None,
    output: str,
) -> None:
    """Compare what users send and say now with DATASET (NAME or NAME/VERSION) and with what they said before.

    Exit code 3: inputs have drifted, or ratings have fallen.
    """
    elsewhere("py3langid")
    from slipway.training.data.versions import DatasetVersion
    from slipway.training.feedback import watch

    version = DatasetVersion.open(workspace_of(workspace), dataset)
    start = since.replace(tzinfo=UTC) if since else version.manifest.created_at
    language = _language()
    found = said(gateway(state, url, api_key), model, None)
    watched = watch(found, _trained(version, language), start.timestamp(), language)
    if output == "json":
        print_json(watched.document())
    else:
        rows = [
            [
                each.of,
                f"{each.psi:.3f}",
                f"{each.bound:.3f}",
                f"{each.js:.3f}",
                "yes" if each.drifted else "no",
            ]
            for each in watched.shifts
        ]
        click.echo(f"{watched.inputs} conversations since {start:%Y-%m-%d %H:%M} UTC")
        print_table(["OF", "PSI", "BOUND", "JS", "DRIFTED"], rows)
        for sentence in watched.alarms or ["Nothing has changed beyond chance."]:
            click.echo(sentence)
    context.exit(DRIFTED if watched.alarms else 0)


def said(gateway: Gateway, model: str | None, since: datetime | None) -> Iterator[dict[str, Any]]:
    """All feedback that the key may see, newest first."""
    query = [("limit", str(_PAGE)), *([("model", model)] if model else [])]
    after: list[tuple[str, str]] = []
    oldest = since.replace(tzinfo=UTC).timestamp() if since else 0.0
    while True:
        page = gateway.get("/v1/feedback", [*query, *after])
        for each in page["data"]:
            if each["created_at"] < oldest:
                return
            yield each
        if not page["has_more"]:
            return
        after = [("after", page["last_id"])]


def _trained(version: "DatasetVersion", language: Any) -> "Profile":
    """What the model was asked in training, on every n-th row."""
    from slipway.training.drift import Profile
    from slipway.training.feedback import asked_text

    stride = max(1, -(-version.count("train") // _SAMPLE))
    profile = Profile()
    columns = ["messages", "text", "tokens", "augmented"]
    for index, row in enumerate(version.rows("train", columns)):
        if index % stride == 0 and not row["augmented"]:
            turns: Any = row.get("messages") or []
            text = asked_text(turns) or row.get("text") or " ".join(row.get("tokens") or [])
            profile.add(text, language(text))
    return profile


def _language() -> Any:
    from slipway.training.data.steps.languages import PREFIX, Language

    identify: Any = Language(Language.Options())
    return lambda text: identify({"text": text})[0].removeprefix(PREFIX)
