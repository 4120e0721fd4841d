"""What can go wrong on the way from data to an artifact.

TrainingError          a stage cannot go on; `reason` for machines, the message says how to mend it
├── DataError          the data, its place or what is asked of it
├── TuningError        the model, the method, memory, a loss that is no number
├── SearchError        the space or the trials of a search
├── EvaluationError    a metric, a suite or the model that is asked
│   └── GateError      the result is not good enough
├── RegistryError      an artifact, its digest, its name
└── DeployError        the service that should get it, or its engines

Stopped                the stage was asked to stop and has kept what it did; it goes on when begun again
"""

from typing import ClassVar


class TrainingError(Exception):
    """A stage cannot go on. The message is a sentence for people."""

    default: ClassVar[str] = "Failed"

    def __init__(self, message: str, reason: str | None = None) -> None:
        """`reason` is one CamelCase word; the class's own if left out."""
        super().__init__(message)
        self.reason = reason or self.default


class DataError(TrainingError):
    """The data, its place or what is asked of it."""

    default = "BadData"


class TuningError(TrainingError):
    """The model, the method, memory, a loss that is no number."""

    default = "TrainingFailed"


class SearchError(TrainingError):
    """The space or the trials of a search."""

    default = "SearchFailed"


class EvaluationError(TrainingError):
    """A metric, a suite or the model that is asked."""

    default = "EvaluationFailed"


class GateError(EvaluationError):
    """The result is not good enough."""

    default = "GateFailed"


class RegistryError(TrainingError):
    """An artifact, its digest, its name."""

    default = "RegistryFailed"


class DeployError(TrainingError):
    """The service that should get it, or its engines."""

    default = "DeployFailed"


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """The stage was asked to stop and has kept what it did; it goes on when begun again."""
