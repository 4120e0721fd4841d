"""What a tracker has been told of a run, and what it is to be told next.

The run's own files are the queue: nothing is kept in memory, and what a tracker that was away has not taken
is there when it is back. runs/NAME/trackers/TRACKER.json says how far it is (`Place`).
"""

import json
import math
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slipway.objects.finetunes import Stage
from slipway.training.runs import Run, write_atomically
from slipway.training.tracking.trackers import Row, Tracker

_MOST_LINES = 2000
"""Read and sent at once."""


class Place(BaseModel):
    """How far a tracker is."""

    model_config = ConfigDict(extra="ignore")

    key: str
    """What the run is called in every tracker that lets it choose."""
    known: str | None = None
    """What the tracker calls it."""
    parameters: bool = False
    """Whether the parameters were told."""
    position: int = 0
    """Bytes of metrics.jsonl that were told."""
    told: list[str] = Field(default_factory=list)
    """Stages whose outcome was told."""


class Follower:
    """One tracker of one stage.

    Args:
        make: makes the tracker; called when there is something to tell, and again after a failure.
    """

    def __init__(self, run: Run, stage: Stage, name: str, make: Callable[[], Tracker]) -> None:
        self._run, self._stage, self._make = run, stage, make
        self._path = run.folder / "trackers" / f"{name}.json"
        self._tracker: Tracker | None = None
        self._place = self._read()

    def send(self, *, last: bool = False) -> None:
        """Tell what is new; with `last` also what came of the stage. Raises what the tracker raises."""
        try:
            tracker = self._started()
            for rows, position in self._new():
                tracker.log_metrics(rows)
                self._place.position = position
                self._write()
            if last:
                self._tell_outcome(tracker)
        except Exception:
            self._tracker = None
            raise

    def _started(self) -> Tracker:
        if self._tracker is None:
            tracker = self._make()
            fine_tune = self._run.fine_tune()
            tags = {"method": fine_tune.spec.method, "task": fine_tune.spec.task}
            self._place.known = tracker.start(self._run.name, self._place.key, self._place.known, tags)
            self._write()
            self._tracker = tracker
        if not self._place.parameters:
            spec = self._run.fine_tune().spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
            asked: dict[str, Any] = {
                name: spec[name]
                for name in ("baseModel", "method", "task", "hyperparameters")
                if name in spec
            }
            self._tracker.log_parameters(dict(_flat(asked)))
            self._place.parameters = True
            self._write()
        return self._tracker

    def _new(self) -> Iterator[tuple[list[Row], int]]:
        """Rows that were not told, with the position after them; a line that is not whole yet is left."""
        path = self._run.folder / "metrics.jsonl"
        if not path.exists():
            return
        with path.open("rb") as file:
            if self._place.position > os.fstat(file.fileno()).st_size:
                self._place.position = 0  # The run was begun anew.
            file.seek(self._place.position)
            rows: list[Row] = []
            position = self._place.position
            for line in file:
                if not line.endswith(b"\n"):
                    break
                position += len(line)
                if (row := _row(line)) is not None:
                    rows.append(row)
                if len(rows) >= _MOST_LINES:
                    yield rows, position
                    rows = []
            if position != self._place.position:
                yield rows, position

    def _tell_outcome(self, tracker: Tracker) -> None:
        outcome = self._run.outcome(self._stage)
        mark = "" if outcome is None else f"{outcome.stage}:{outcome.state}:{outcome.inputs}"
        state: Literal["running", "finished", "failed"] = "running"
        if outcome is not None and mark not in self._place.told:
            steps = [row.get("step", 0) for row in self._run.metrics()]
            found = dict(_numbers({self._stage: outcome.result.get("metrics") or {}}))
            if found:
                tracker.log_metrics([Row(int(max(steps, default=0)), _at(self._run, self._stage), found)])
            chosen = outcome.result.get("hyperparameters")
            if isinstance(chosen, dict):
                tracker.log_parameters(dict(_flat({self._stage: chosen})))
            for name in ("dataset", "artifact", "report", "uri", "digest", "modelCard"):
                if told := outcome.result.get(name):
                    tracker.log_link(f"{self._stage}.{name}", str(told))
            self._place.told.append(mark)
        if outcome is not None and outcome.state == "Failed":
            state = "failed"
        elif outcome is not None and self._stage == self._run.fine_tune().stages[-1]:
            state = "finished"
        tracker.finish(state)
        self._write()

    def _read(self) -> Place:
        try:
            return Place.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            place = Place(key=secrets.token_hex(20))
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, place.model_dump_json())
            return place

    def _write(self) -> None:
        write_atomically(self._path, self._place.model_dump_json())


def _row(line: bytes) -> Row | None:
    try:
        values: dict[str, Any] = json.loads(line)
        step, at = int(values.pop("step", 0)), float(values.pop("at", 0.0))
    except (ValueError, TypeError, AttributeError):
        return None
    found = dict(_numbers(values))
    return Row(step, at, found) if found else None


def _numbers(values: dict[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """Finite numbers by their path; trackers refuse others."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{before}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield f"{before}{name}", float(value)


def _flat(values: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value if isinstance(value, str) else json.dumps(value)


def _at(run: Run, stage: Stage) -> float:
    return Path(run.folder / f"{stage}.json").stat().st_mtime
