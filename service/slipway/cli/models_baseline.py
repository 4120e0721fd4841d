"""`slipway models baseline`."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any

import click

from slipway.cli.options import output_option, print_json, print_table, sentences
from slipway.cli.training_python import training_python
from slipway.cli.workspaces import telling, workspace_of, workspace_option


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--data", required=True, help="Dataset of the workspace: NAME, or NAME/VERSION.")
@click.option(
    "--shots", type=click.IntRange(0, 64), default=0, show_default=True, help="Examples before each question."
)
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Rows that are asked.")
@click.option("--max-tokens", type=click.IntRange(1), default=64, show_default=True, help="Of an answer.")
@click.option(
    "--metric", "metrics", multiple=True, help="Instead of those of the task; several are possible."
)
@click.option("--seed", default=0, show_default=True, help="Of the rows and of the examples.")
@workspace_option
@output_option
@sentences
@telling
def command(
    models: Sequence[str],
    data: str,
    shots: int,
    limit: int,
    max_tokens: int,
    metrics: Sequence[str],
    seed: int,
    workspace: str | None,
    output: str,
) -> None:
    """Measure MODELS on your data as they are, without training.

    A model is a folder, a source such as hf://org/name, or NAME@http://HOST/v1 (key: $SLIPWAY_API_KEY). The
    validation part is asked, never the test part.
    """
    request = {
        "models": list(models),
        "data": data,
        "workspace": str(workspace_of(workspace).root),
        "shots": shots,
        "limit": limit,
        "max_tokens": max_tokens,
        "metrics": list(metrics),
        "seed": seed,
    }
    command = [training_python(), "-m", "slipway.training.choosing.baselines", json.dumps(request)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    found = json.loads(done.stdout.splitlines()[-1])
    if output == "json":
        print_json(found)
        return
    _print(found)


def _print(found: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for each in found for name in each["scores"]))
    rows = [
        [each["model"], *(_score(each["scores"].get(name)) for name in names), f"{each['seconds']:.0f}"]
        for each in found
    ]
    print_table(["MODEL", *names, "SECONDS"], rows)
    for each in found:
        for sentence in [each["error"], *each["notes"]]:
            if sentence:
                click.echo(f"{each['model']}: {sentence}")


def _score(score: dict[str, Any] | None) -> str:
    if score is None or score.get("value") is None:
        return "-"
    value = f"{score['value']:.3g}"
    interval = score.get("interval")
    return f"{value} ({interval[0]:.3g} to {interval[1]:.3g})" if interval else value
