"""What the tests of a preparation share: a watch without a person, and sources made of lines."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway.objects.datasets import DatasetSpec
from slipway.training.data.pipeline import prepare
from slipway.training.data.versions import PARTS, DatasetVersion
from slipway.training.errors import Stopped
from slipway.training.records import Record
from slipway.training.workspaces import Workspace


@dataclass
class Watching:
    """Remembers what it is told; stops when it was asked often enough."""

    workspace: Workspace
    checks: int | None = None
    """Stops at this check."""
    told: list[str] = field(default_factory=list)

    def check(self) -> None:
        if self.checks is not None:
            self.checks -= 1
            if self.checks < 0:
                raise Stopped

    def tell(self, message: str, step: int = 0, total: int | None = None) -> None:
        self.told.append(message)


def lines(path: Path, rows: Iterable[Any]) -> Path:
    """A JSONL file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def spec(path: Path, form: str = "chat", source: dict[str, Any] | None = None, **more: Any) -> DatasetSpec:
    """A dataset of one source."""
    one = {"name": "mine", "source": path.as_uri(), **(source or {})}
    return DatasetSpec.model_validate({"format": form, "sources": [one], **more})


def prepared(workspace: Path, wanted: DatasetSpec, **options: Any) -> DatasetVersion:
    """A version of the dataset `test`."""
    return prepare("test", wanted, Watching(Workspace(workspace)), **options)


def records(version: DatasetVersion) -> list[Record]:
    """The records of all parts."""
    return [record for part in PARTS for record in version.rows(part)]


def dropped(version: DatasetVersion) -> dict[str, int]:
    """How many records each reason cost."""
    return {each.reason: each.count for each in version.manifest.dropped}


def sentence(number: int) -> str:
    """A text unlike that of any other number."""
    words = [
        "river",
        "stone",
        "lamp",
        "garden",
        "window",
        "letter",
        "market",
        "bridge",
        "copper",
        "violin",
        "harbour",
        "meadow",
    ]
    return " ".join(f"{words[(number * 7 + at * at) % 12]}{number * 31 % 997}{at}" for at in range(12))
