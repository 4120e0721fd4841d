"""`slipway eval`: how good a model is, in a folder or behind an address."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slipway.cli.options import output_option
from slipway.cli.training_python import run_in_training

if TYPE_CHECKING:
    from slipway.objects.finetunes import EvaluationSpec


@click.command(name="eval")
@click.argument("model")
@click.option(
    "--model-name", default="", help="The model's name behind the address, where there are several."
)
@click.option("--base", default="", help="Of an adapter: folder or source of the model below it.")
@click.option(
    "--data",
    default="",
    help="A JSONL file, or a dataset NAME/VERSION of the workspace, whose test part is read.",
)
@click.option("--metrics", default="", help="Comma-separated; those of the task if left out.")
@click.option(
    "--suite",
    "suites",
    multiple=True,
    help="bias, toxicity, privacy, memorization, injection, or lm-eval/TASK; may be given several times.",
)
@click.option(
    "--slices", default="", help="Comma-separated fields by whose values the metrics are told apart."
)
@click.option(
    "--against", default="", help="Another model, in a folder or behind an address, to compare with."
)
@click.option("--against-name", default="", help="Its name behind the address, where there are several.")
@click.option(
    "--gate",
    "gates",
    multiple=True,
    help="What must be reached: exact_match>=0.9, perplexity<=12, accuracy>base (significantly better than"
    " --against).",
)
@click.option("--judge-url", default="", help="Address of a model that judges answers.")
@click.option("--judge-model", default="", help="Its name there.")
@click.option("--criteria", default="", help="What the judge is asked.")
@click.option(
    "--training", default="", help="JSONL of the rows it was trained on, for privacy and memorization."
)
@click.option("--tasks", type=click.Path(path_type=Path, exists=True), help="Folder of lm-eval tasks.")
@click.option(
    "--toxicity-model",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of a classifier that tells toxic texts; a list of words if left out.",
)
@click.option("--max-tokens", default=64, show_default=True, help="Length of an answer at most.")
@click.option(
    "--folds",
    type=click.IntRange(min=3, max=100),
    default=None,
    help="Cross-validation: MODEL is a run of the workspace, trained anew for each fold of its data.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Examples at most, spread over all.")
@click.option("--concurrency", default=8, show_default=True, help="Questions under way, behind an address.")
@click.option("--resamples", default=1000, show_default=True, help="Of the bootstrap.")
@click.option("--seed", default=0, show_default=True, help="Of everything drawn at random.")
@click.option("--workspace", default="", help="Where datasets lie.  [default: $SLIPWAY_WORKSPACE]")
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("evaluation"),
    show_default=True,
    help="Gets evaluation.json, predictions.jsonl, report.html and the answers, which are kept.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print no progress.")
@output_option
def command(**given: Any) -> None:
    """Evaluate MODEL: a folder, a source (hf://, s3://, file://), or an address such as http://HOST:8000/v1.

    Keys come from $SLIPWAY_API_KEY (the model), $SLIPWAY_AGAINST_KEY and $SLIPWAY_JUDGE_KEY. The exit code
    is 1 when a gate does not hold. A call that was broken off goes on where it was when it is given again.
    """
    from pydantic import ValidationError

    from slipway.training.evaluation.requests import Request

    if not given["data"] and not given["suites"] and not given["folds"]:
        raise click.UsageError("Give --data, --suite, or both.")
    try:
        request = Request(
            model=given["model"],
            name=given["model_name"],
            base=given["base"],
            against=given["against"],
            against_name=given["against_name"],
            data=given["data"],
            training=given["training"],
            workspace=given["workspace"],
            spec=_spec(given),
            tasks=given["tasks"],
            classifier=given["toxicity_model"],
            output=given["output_dir"],
            folds=given["folds"] or 0,
            limit=given["limit"],
            at_once=given["concurrency"],
            resamples=given["resamples"],
            seed=given["seed"],
            form=given["output"],
            quiet=given["quiet"],
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise click.UsageError(f"{where}: {first['msg']}") from None
    raise SystemExit(run_in_training("slipway.training.evaluation", [request.model_dump_json()]))


def _spec(given: dict[str, Any]) -> "EvaluationSpec":
    from slipway.objects.finetunes import EvaluationSpec
    from slipway.training.errors import EvaluationError
    from slipway.training.evaluation.gates import written

    try:
        gates = [written(text) for text in given["gates"]]
    except EvaluationError as error:
        raise click.UsageError(str(error)) from None
    spec: dict[str, Any] = {
        "metrics": _words(given["metrics"]),
        "suites": list(given["suites"]),
        "slices": _words(given["slices"]),
        "max_tokens": given["max_tokens"],
        "gates": gates,
    }
    if bool(given["judge_url"]) != bool(given["judge_model"]):
        raise click.UsageError("Give --judge-url and --judge-model together.")
    if given["judge_url"]:
        judge = {"url": given["judge_url"], "model": given["judge_model"]}
        spec["judge"] = judge | ({"criteria": given["criteria"]} if given["criteria"] else {})
    return EvaluationSpec(**spec)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
