"""`slipway adapters merge` and `slipway adapters bag`."""

from collections.abc import Sequence

import click

from slipway.cli.training_python import run_in_training
from slipway.cli.workspaces import workspace_of, workspace_option

_METHODS = (
    "svd", "cat", "linear", "ties", "ties_svd", "dare_linear", "dare_ties", "dare_linear_svd", "dare_ties_svd"
)  # fmt: skip

seed_option = click.option("--seed", default=0, show_default=True, help="Of what is drawn at random.")


@click.group()
def command() -> None:
    """Make one of several adapters: merge them, or train a bag of them to be asked together."""


@command.command()
@click.argument("adapters", nargs=-1, required=True)
@click.option("--weights", help="Of each, such as 0.7,0.3; equal shares if left out.")
@click.option("--method", type=click.Choice(_METHODS), default="svd", show_default=True)
@click.option("--density", default=0.5, show_default=True, help="Share of values that ties and dare keep.")
@click.option("--rank", type=click.IntRange(1), help="Of the result, for svd; the largest if left out.")
@click.option("-o", "--output", required=True, help="Name in the registry, or a folder (with a / in it).")
@seed_option
@workspace_option
def merge(
    adapters: Sequence[str],
    weights: str | None,
    method: str,
    density: float,
    rank: int | None,
    output: str,
    seed: int,
    workspace: str | None,
) -> None:
    """Merge LoRA adapters of one base: folders, NAME/VERSION or NAME of the registry."""
    arguments = ["merge", *adapters, "--method", method, "--density", str(density), "--seed", str(seed)]
    arguments += ["--output", output]
    arguments += [f"--weights={weights}"] if weights else []  # With =, as weights may begin with a minus.
    arguments += ["--rank", str(rank)] if rank else []
    raise SystemExit(_run(workspace, arguments))


@command.command()
@click.argument("run")
@click.option("--count", type=click.IntRange(2, 100), default=5, show_default=True, help="Members.")
@seed_option
@workspace_option
def bag(run: str, count: int, seed: int, workspace: str | None) -> None:
    """Train, evaluate and register members RUN-bag-1, …, each on a bootstrap sample of RUN's data.

    Begun again it goes on where it was.
    """
    raise SystemExit(_run(workspace, ["bag", run, "--count", str(count), "--seed", str(seed)]))


def _run(workspace: str | None, arguments: Sequence[str]) -> int:
    root = workspace_of(workspace).root
    return run_in_training("slipway.training.merging", ["--workspace", str(root), *arguments])
