"""What the stages of a run have written for people: reports, and the model's card. Files of the workspace."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class StageReport:
    """One of them."""

    name: str
    title: str
    file: Path

    @property
    def media_type(self) -> str:
        """Of the file."""
        return "text/html" if self.file.suffix == ".html" else "text/plain"


def reports_of(run: Path) -> Iterator[StageReport]:
    """Those that are there, in the order of the stages. `run` is `WORKSPACE/runs/NAME`."""
    workspace = run.parent.parent
    dataset = _result(run, "prepare").get("dataset")
    evaluation = _result(run, "evaluate").get("report")
    registered = _result(run, "register")
    places = (
        ("data", "The data", f"datasets/{dataset}/report.html" if dataset else None),
        ("search", "The search", f"runs/{run.name}/search/report.html"),
        ("evaluation", "The evaluation", evaluation),
        ("card", "The model card", _card(registered)),
    )
    for name, title, place in places:
        if not isinstance(place, str):
            continue
        file = (workspace / place).resolve()
        # What a stage wrote is followed within the workspace alone.
        if file.is_relative_to(workspace.resolve()) and file.is_file():
            yield StageReport(name, title, file)


def _card(registered: dict[str, Any]) -> str | None:
    name, version = registered.get("name"), registered.get("version")
    return f"registry/{name}/{version}/README.md" if name and version else None


def _result(run: Path, stage: str) -> dict[str, Any]:
    try:
        result = json.loads((run / f"{stage}.json").read_bytes())["result"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return result if isinstance(result, dict) else {}
