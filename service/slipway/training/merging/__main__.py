"""Merges and bags adapters: `python -m slipway.training.merging merge|bag …`; see `slipway adapters`."""

import argparse
import subprocess
import sys
from pathlib import Path

from slipway.training.errors import TrainingError
from slipway.training.merging.adapters import METHODS, opened
from slipway.training.workspaces import Workspace


def main() -> int:
    """Do what the arguments ask for; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m slipway.training.merging", description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    commands = parser.add_subparsers(dest="command", required=True)
    merging = commands.add_parser("merge")
    merging.add_argument("adapters", nargs="+")
    merging.add_argument("--weights", type=_numbers)
    merging.add_argument("--method", choices=METHODS, required=True)
    merging.add_argument("--density", type=float, required=True)
    merging.add_argument("--rank", type=int)
    merging.add_argument("--seed", type=int, required=True)
    merging.add_argument("--output", required=True)
    bagging = commands.add_parser("bag")
    bagging.add_argument("run")
    bagging.add_argument("--count", type=int, required=True)
    bagging.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    workspace = Workspace(given.workspace.resolve())
    try:
        return _merge(workspace, given) if given.command == "merge" else _bag(workspace, given)
    except TrainingError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


def _merge(workspace: Workspace, given: argparse.Namespace) -> int:
    from slipway.training.merging.merges import merge
    from slipway.training.merging.registering import register
    from slipway.training.registry.store import Registry

    registry = Registry.of(workspace)
    adapters = [opened(registry, each) for each in given.adapters]
    weights = given.weights or [1 / len(adapters)] * len(adapters)
    options = {"density": given.density, "rank": given.rank, "seed": given.seed}
    with workspace.unfinished() as scratch:
        merged = scratch / "merged"
        document = merge(adapters, weights, given.method, merged, **options)
        if "/" in given.output:
            target = Path(given.output).expanduser().resolve()
            merged.rename(target)
            print(f"Merged {len(adapters)} adapters into {target}: rank {document['rank']}.")
            return 0
        record = register(registry, given.output, adapters, merged, document)
    print(
        f"Merged {len(adapters)} adapters into {record.reference}: rank {document['rank']}, {record.digest}."
    )
    return 0


def _bag(workspace: Workspace, given: argparse.Namespace) -> int:
    from slipway.training.merging.bagging import bag

    for member in bag(workspace, given.run, given.count, given.seed):
        for stage in ("train", "evaluate", "register"):
            command = [sys.executable, "-m", "slipway.training", stage]
            done = subprocess.run(
                [*command, "--workspace", str(workspace.root), "--run", member.name], check=False
            )
            if done.returncode:
                return done.returncode
    return 0


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
