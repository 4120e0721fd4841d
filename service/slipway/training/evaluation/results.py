"""What came of an evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isnan
from typing import Any

from slipway.training.evaluation.examples import Prediction, Task
from slipway.training.evaluation.gates import GateResult, Rival
from slipway.training.evaluation.intervals import Comparison, Score
from slipway.training.evaluation.suites import Findings


@dataclass(frozen=True, slots=True)
class SliceResult:
    """The metrics over the examples with one value of a field."""

    field: str
    value: str
    count: int
    small: bool
    scores: Mapping[str, Score]


@dataclass(slots=True)
class Evaluation:
    """What came of an evaluation."""

    model: str
    """Its name."""
    task: Task
    data: str
    """Where the examples are from."""
    predictions: Sequence[Prediction] = ()
    test_reads: int = 0
    """Evaluations that have looked at this test part so far, this one among them; 0 where nobody counts."""
    scores: dict[str, Score] = field(default_factory=dict)
    """Metrics of the test part and of the suites, by name."""
    per_label: dict[str, dict[str, Score]] = field(default_factory=dict)
    slices: list[SliceResult] = field(default_factory=list)
    rivals: dict[Rival, str] = field(default_factory=dict)
    """What it was compared with."""
    comparisons: dict[Rival, dict[str, Comparison]] = field(default_factory=dict)
    suites: dict[str, Findings] = field(default_factory=dict)
    gates: list[GateResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every gate holds."""
        return all(each.passed for each in self.gates)

    @property
    def metrics(self) -> dict[str, float]:
        """The value of each metric that could be told."""
        return {name: score.value for name, score in self.scores.items() if not isnan(score.value)}

    @property
    def intervals(self) -> dict[str, list[float]]:
        """The 95 % interval of each metric that has one."""
        return {name: [score.low, score.high] for name, score in self.scores.items() if not isnan(score.low)}

    def of(self, rival: Rival) -> dict[str, float]:
        """The metrics of what it was compared with."""
        return {name: each.theirs for name, each in self.comparisons.get(rival, {}).items()}

    def document(self) -> dict[str, Any]:
        """As evaluation.json."""
        found: dict[str, Any] = {
            "model": self.model,
            "task": self.task,
            "data": self.data,
            "examples": len(self.predictions),
            "unanswered": sum(bool(each.answer.error) for each in self.predictions),
            "testReads": self.test_reads,
            "metrics": self.metrics,
            "intervals": self.intervals,
            "scores": {name: score.document() for name, score in self.scores.items()},
            "perLabel": _documents(self.per_label),
            "slices": [
                asdict(each) | {"scores": {name: score.document() for name, score in each.scores.items()}}
                for each in self.slices
            ],
            "base": self.of("base"),
            "deployed": self.of("deployed"),
            "comparisons": {
                rival: {
                    "model": self.rivals[rival],
                    "metrics": {name: _finite(asdict(each)) for name, each in compared.items()},
                }
                for rival, compared in self.comparisons.items()
            },
            "suites": {
                name: {"notes": list(each.notes), "metrics": list(each.scores)}
                for name, each in self.suites.items()
            },
            "gates": [each.document() for each in self.gates],
            "notes": self.notes,
            "seconds": round(self.seconds, 3),
        }
        return found


def _documents(scores: Mapping[str, Mapping[str, Score]]) -> dict[str, Any]:
    return {label: {name: score.document() for name, score in own.items()} for label, own in scores.items()}


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers that JSON has; None for the others."""
    return {
        name: None if isinstance(value, float) and isnan(value) else value for name, value in values.items()
    }
