"""Suites beside the test part: what else a model must be asked before it is let loose."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from slipway.training.evaluation.asking import Asked
from slipway.training.evaluation.examples import Example, Prediction, Task
from slipway.training.evaluation.intervals import RESAMPLES, Score


@dataclass(frozen=True, slots=True)
class Material:
    """What suites work with."""

    asked: Asked
    """The model."""
    task: Task
    predictions: Sequence[Prediction]
    """Over the test part; empty where nothing but suites is asked for."""
    labels: Sequence[str] = ()
    max_tokens: int = 64
    slices: Sequence[str] = ()
    """Fields of the examples that tell groups apart."""
    training: Callable[[], Iterable[Example]] | None = None
    """The rows that the model was trained on, if they are known."""
    control: Callable[[], Iterable[Example]] | None = None
    """Rows of the same kind that it has not seen."""
    tasks: Path | None = None
    """Folder of lm-evaluation-harness tasks."""
    classifier: Path | None = None
    """A model that tells toxic texts."""
    resamples: int = RESAMPLES
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Findings:
    """What a suite found."""

    scores: Mapping[str, Score]
    """By name, which begins with the suite's: `toxicity.rate`."""
    notes: Sequence[str] = ()
    """How it was measured and what that does not see; sentences."""
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str | float | None]] = field(default_factory=tuple)
    """A table of the worst, or of all."""


@cache
def shipped(name: str) -> dict[str, Any]:
    """The texts that a suite ships."""
    import yaml

    text = files("slipway.training.evaluation.suites").joinpath(f"texts/{name}.yaml").read_text("utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded
