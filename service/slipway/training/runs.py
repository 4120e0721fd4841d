"""One FineTune's way through its stages, as files: whatever is killed, the next process goes on from them.

runs/NAME/
  finetune.yaml       the object as it was asked for
  STAGE.json          what came of a stage that ended (`Outcome`)
  progress.json       where the running stage is (`Progress`)
  events.jsonl        one line for each thing worth telling: {"at", "level", "message"}
  metrics.jsonl       one line for each logged step: {"step", "loss", "learning_rate", "tokens_per_second", …}
  train/              checkpoints and the trained artifact
  trials/TRIAL/       the same for each trial of a search
  evaluation/         evaluation.json, report.html
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from slipway.objects import FineTune, finetunes
from slipway.objects.finetunes import Stage

M = TypeVar("M", bound=BaseModel)
STAGES = finetunes.STAGES


class Outcome(BaseModel):
    """What came of a stage."""

    model_config = ConfigDict(extra="forbid")

    stage: Stage
    state: Literal["Succeeded", "Failed"]
    reason: str = ""
    """One CamelCase word, of a failure."""
    message: str
    """A sentence for people."""
    inputs: str = ""
    """Digest of all that the stage depends on: the same again need not be done again."""
    result: dict[str, Any] = Field(default_factory=dict)
    """What later stages and the status need: versions, paths below the workspace, metrics."""
    seconds: float = 0.0


class Progress(BaseModel):
    """Where the running stage is."""

    model_config = ConfigDict(extra="forbid")

    stage: Stage
    step: int = 0
    total_steps: int | None = None
    eta_seconds: float | None = None
    message: str = ""
    metrics: dict[str, float] = Field(default_factory=dict)
    """The newest figures, such as `loss`."""
    updated_at: datetime = Field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Run:
    """Reads and writes the files of one run."""

    folder: Path

    @property
    def name(self) -> str:
        """Of the FineTune."""
        return self.folder.name

    def begin(self, fine_tune: FineTune) -> None:
        """Write down what is asked for."""
        self.folder.mkdir(parents=True, exist_ok=True)
        document = fine_tune.model_dump(mode="json", by_alias=True, exclude_unset=True)
        document |= {"apiVersion": fine_tune.api_version, "kind": fine_tune.kind}
        write_atomically(self.folder / "finetune.yaml", json.dumps(document, indent=1))

    def fine_tune(self) -> FineTune:
        """What is asked for. JSON is YAML; both are read."""
        import yaml

        return FineTune.model_validate(yaml.safe_load((self.folder / "finetune.yaml").read_text()))

    def outcome(self, stage: Stage) -> Outcome | None:
        """What came of a stage; None before it has ended."""
        return _read(self.folder / f"{stage}.json", Outcome)

    def end(self, outcome: Outcome) -> None:
        """Write down what came of a stage."""
        write_atomically(self.folder / f"{outcome.stage}.json", outcome.model_dump_json(indent=1))

    def forget(self, stage: Stage) -> None:
        """Let a stage and all after it be done again."""
        for name in STAGES[STAGES.index(stage) :]:
            (self.folder / f"{name}.json").unlink(missing_ok=True)

    def progress(self) -> Progress | None:
        """Where the running stage is; None before the first."""
        return _read(self.folder / "progress.json", Progress)

    def tell(self, progress: Progress) -> None:
        """Write down where the running stage is."""
        write_atomically(self.folder / "progress.json", progress.model_dump_json())

    def say(self, message: str, level: Literal["info", "warning", "error"] = "info") -> None:
        """Add an event."""
        self._append(
            "events.jsonl", {"at": datetime.now(UTC).isoformat(), "level": level, "message": message}
        )

    def log(self, **values: float) -> None:
        """Add a line of metrics."""
        self._append("metrics.jsonl", {"at": time.time(), **values})

    def events(self) -> Iterator[dict[str, Any]]:
        """What was told, in order."""
        return _lines(self.folder / "events.jsonl")

    def metrics(self) -> Iterator[dict[str, Any]]:
        """What was logged, in order."""
        return _lines(self.folder / "metrics.jsonl")

    def _append(self, name: str, line: dict[str, Any]) -> None:
        # One write of less than a page to a file opened for appending is not torn by another process's.
        with (self.folder / name).open("ab", buffering=0) as file:
            file.write(json.dumps(line).encode() + b"\n")


class Follower(Run):
    """The run as seen by one of several processes that train together, but the first: it writes nothing."""

    def end(self, outcome: Outcome) -> None:
        """The first process does it."""

    def forget(self, stage: Stage) -> None:
        """The first process does it."""

    def tell(self, progress: Progress) -> None:
        """The first process does it."""

    def say(self, message: str, level: Literal["info", "warning", "error"] = "info") -> None:
        """The first process does it."""

    def log(self, **values: float) -> None:
        """The first process does it."""


def write_atomically(path: Path, text: str) -> None:
    """Put `text` in the place of a file's content, wholly or not at all, also when power fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _read(path: Path, model: type[M]) -> M | None:
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open() as file:
        for line in file:
            if line.endswith("\n"):  # The last one may still be on its way.
                yield json.loads(line)
