"""What one training is asked to do, and what comes of it. Light: no training library is imported here."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from slipway.objects.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from slipway.training.data.versions import DatasetVersion

Task = Literal["generate", "classify", "tag"]
Method = Literal["lora", "dora", "qlora", "full", "frozen", "head"]
Kind = Literal["adapter", "model"]


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One training. The same job begun again in the same folder goes on where it was."""

    base: Path
    """The fetched base model: config.json, safetensors, tokenizer."""
    dataset: "DatasetVersion"
    """Its parts `train` and `validation` are read, never `test`."""
    task: Task
    method: Method
    hyperparameters: Hyperparameters
    folder: Path
    """Holds `tokens/`, `checkpoints/`, and at the end `artifact/`; the job's own."""
    base_source: str = ""
    """Where the base came from, pinned; its folder if left out."""
    base_digest: str = ""
    """Digest of its files."""
    keep: int = 2
    """Checkpoints that are kept."""
    checkpoint_seconds: float = 60.0
    """Time between two checkpoints, beside those that each evaluation makes."""
    save: bool = True
    """Whether the artifact is written; a search needs the metrics alone."""

    @property
    def artifact(self) -> Path:
        """Where the artifact is put."""
        return self.folder / "artifact"


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a training."""

    artifact: Path | None
    """Safetensors, config, tokenizer and training.json; None if nothing was saved."""
    kind: Kind
    metrics: dict[str, float] = field(default_factory=dict)
    """The last ones: `loss`, `eval_loss`, `eval_accuracy` (of tokens or labels), `eval_loss/SOURCE`, …"""
    steps: int = 0
    """Optimizer steps done."""
    tokens: int = 0
    """Tokens worked on, padding not counted."""
    seconds: float = 0.0
    """Time spent training, over all attempts."""
    pruned: bool = False
    """Whether `report` ended it before its time."""


class Report(Protocol):
    """Told the metrics after each evaluation on the validation part."""

    def __call__(self, step: int, metrics: dict[str, float]) -> bool:
        """Returns whether to go on; False ends the training, and nothing is saved."""
