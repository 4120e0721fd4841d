"""What is known of a trial, for the status, the table and the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from slipway.training.runs import write_atomically

Phase = Literal["Running", "Succeeded", "Stopped", "Failed"]
Goal = Literal["minimize", "maximize"]


class Trial(BaseModel):
    """One training of a search."""

    model_config = ConfigDict(extra="forbid")

    number: int
    """From 0, in the order in which they were begun."""
    phase: Phase = "Running"
    """Stopped: ended by pruning before it was done."""
    parameters: dict[str, str]
    """The hyperparameters that differ, by their names in YAML."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """What it reached, on the validation part."""
    value: float | None = None
    """Of the objective: at its end, or at its last evaluation."""
    history: dict[int, float] = Field(default_factory=dict)
    """The objective at each evaluation, counted from 1."""
    reason: str = ""
    """One CamelCase word, of a failure."""
    message: str = ""
    """A sentence for people, of a failure."""
    seconds: float = 0.0
    """What it took, over all attempts."""

    @property
    def name(self) -> str:
        """Of the trial and of its folder."""
        return trial_name(self.number)


class Board(BaseModel):
    """All trials of a search: `search/trials.json`."""

    model_config = ConfigDict(extra="forbid")

    metric: str
    goal: Goal
    seconds: float = 0.0
    """What the search took so far, over all attempts."""
    trials: list[Trial] = Field(default_factory=list)

    @property
    def best(self) -> Trial | None:
        """The trial with the best objective among those that were done; the first of equals."""
        return best(self.trials, self.goal)

    def ranked(self) -> list[Trial]:
        """The best first; then those that were stopped, that still run and that failed."""
        order = ("Succeeded", "Stopped", "Running", "Failed")
        sign = 1 if self.goal == "minimize" else -1

        def key(trial: Trial) -> tuple[int, float, int]:
            return order.index(trial.phase), sign * (trial.value or 0.0), trial.number

        return sorted(self.trials, key=key)

    @classmethod
    def read(cls, run: Path) -> "Board | None":
        """Of the run in this folder; None where no search has begun."""
        try:
            return cls.model_validate_json((run / "search" / "trials.json").read_bytes())
        except FileNotFoundError:
            return None

    def write(self, run: Path) -> None:
        """Into the run in this folder."""
        write_atomically(run / "search" / "trials.json", self.model_dump_json(indent=1))


def best(trials: Sequence[Trial], goal: Goal) -> Trial | None:
    """The trial with the best objective among those that were done; the first of equals."""
    done = [(trial.value, trial.number, trial) for trial in trials if trial.phase == "Succeeded"]
    scored = [
        ((value if goal == "minimize" else -value), number, trial)
        for value, number, trial in done
        if value is not None
    ]
    return min(scored, key=lambda each: each[:2])[2] if scored else None


def trial_name(number: int) -> str:
    """`trial-007`."""
    return f"trial-{number:03d}"
