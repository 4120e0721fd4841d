"""Prepares and exports datasets, as a process of the training environment: `python -m slipway.training.data`.

Exit codes: 0 done, 1 failed (the message says how to mend it), 75 stopped and to be begun again.
"""

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import yaml
from pydantic import ValidationError

from slipway.objects import FineTune
from slipway.objects.datasets import DatasetSpec
from slipway.training.data import executors
from slipway.training.data.exports import export
from slipway.training.data.pipeline import prepare
from slipway.training.data.versions import PARTS, DatasetVersion
from slipway.training.errors import DataError, Stopped
from slipway.training.exploration.report import ensure
from slipway.training.workspaces import Workspace

STOPPED = 75
_EVERY = 0.5
"""Seconds between two lines of progress."""


class Terminal:
    """Tells a person how far a preparation is, and lets Ctrl-C stop it."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._asked = False
        self._told = (float("-inf"), "")
        self._began = (0.0, 0, "")
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, self._stop)

    @property
    def workspace(self) -> Workspace:
        """Where versions lie."""
        return self._workspace

    def check(self) -> None:
        """Raises Stopped after Ctrl-C."""
        if self._asked:
            raise Stopped

    def tell(self, message: str, step: int = 0, total: int | None = None) -> None:
        """Print how far it is, with the time left."""
        now = time.monotonic()
        if self._began[2] != message:
            self._began = (now, step, message)
        at, before = self._told
        if now - at < _EVERY and message == before and step != total:
            return
        self._told = (now, message)
        since, first, _ = self._began
        left = (now - since) / (step - first) * (total - step) if total and step > first else None
        shown = f"{message}: {step}/{total}" if total else message
        print(shown + (f", {left:.0f} s left" if left else ""), file=sys.stderr, flush=True)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._asked = True


def main() -> int:
    """Do what the arguments say; the exit code."""
    given = _arguments()
    workspace = Workspace(given.workspace.resolve())
    try:
        return _prepare(given, workspace) if given.command == "prepare" else _export(given, workspace)
    except DataError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except Stopped:
        print("Stopped. The same command goes on where it was.", file=sys.stderr)
        return STOPPED


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m slipway.training.data", description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    commands = parser.add_subparsers(dest="command", required=True)
    preparing = commands.add_parser("prepare")
    preparing.add_argument("--file", type=Path, required=True, help="a FineTune, or what its `dataset` holds")
    preparing.add_argument("--name", help="of the dataset; by default the FineTune's, or the file's")
    preparing.add_argument("--ray", action="store_true", help="do the work on Ray Data")
    exporting = commands.add_parser("export")
    exporting.add_argument("dataset")
    exporting.add_argument("--format", choices=("openai", "jsonl", "parquet"), default="openai")
    exporting.add_argument("--to", type=Path, required=True)
    return parser.parse_args()


def _prepare(given: argparse.Namespace, workspace: Workspace) -> int:
    name, spec = _asked(given.file)
    terminal = Terminal(workspace)
    version = prepare(given.name or name, spec, terminal, executors.ray if given.ray else None)
    for warning in ensure(version, terminal):
        print(f"Warning: {warning}", file=sys.stderr)
    parts = ", ".join(f"{version.count(part)} {part}" for part in PARTS)
    dropped = sum(each.count for each in version.manifest.dropped)
    print(f"{version.reference}: {parts}; {dropped} dropped. {version.folder}")
    print(f"Report: {version.report}")
    return 0


def _asked(path: Path) -> tuple[str, DatasetSpec]:
    """Name and spec of the dataset that a file asks for."""
    try:
        document = yaml.safe_load(path.read_text())
        if not isinstance(document, dict):
            raise DataError(f"{path} holds no FineTune and no dataset; a dataset has `format` and `sources`.")
        if document.get("kind") == "FineTune":
            fine_tune = FineTune.model_validate(document)
            return fine_tune.metadata.name, fine_tune.spec.dataset
        return path.stem, DatasetSpec.model_validate(document)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise DataError(f"{path} is not valid. " + "; ".join(faults[:5])) from error


def _export(given: argparse.Namespace, workspace: Workspace) -> int:
    for path in export(DatasetVersion.open(workspace, given.dataset), given.format, given.to):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
