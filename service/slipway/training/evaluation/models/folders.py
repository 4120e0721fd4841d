"""A model in a folder, with or without an adapter: opened for the kind of question that its task asks."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.training.errors import EvaluationError
from slipway.training.evaluation.examples import Task


@dataclass(frozen=True, slots=True)
class Opened:
    """A model in memory, ready to be asked."""

    model: Any
    tokenizer: Any
    labels: tuple[str, ...] = ()
    """Of classify and tag, in the order of the model's outputs."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Where a model lies."""

    path: Path
    """config.json, safetensors and tokenizer; or adapter_config.json and the adapter's safetensors."""
    base: Path | None = None
    """Of an adapter; found by the adapter's own files if left out."""

    def __post_init__(self) -> None:
        """Raises EvaluationError if there is no model."""
        if not self.is_adapter and not (self.path / "config.json").exists():
            raise EvaluationError(
                f"{self.path} is no model: it has neither config.json nor adapter_config.json.", "NoModel"
            )

    @property
    def is_adapter(self) -> bool:
        """Whether it is an adapter over another model."""
        return (self.path / "adapter_config.json").exists()

    @property
    def digest(self) -> str:
        """Over names, sizes and times of its files: another after every training."""
        seen = hashlib.sha256()
        for folder in filter(None, (self.path, self.base)):
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    at = path.stat()
                    seen.update(f"{path.relative_to(folder)} {at.st_size} {at.st_mtime_ns}\n".encode())
        return seen.hexdigest()

    def base_folder(self) -> Path:
        """The model that the adapter lies over. Raises EvaluationError."""
        if self.base is not None:
            return self.base
        told = self._json("adapter_config.json").get("base_model_name_or_path")
        if not told:
            raise EvaluationError(f"{self.path} does not say what it is an adapter of.", "NoModel")
        if Path(told).is_dir():
            return Path(told)
        if "://" not in told:
            raise EvaluationError(
                f"{self.path} is an adapter of {told}, which is not here; name its folder.", "NoModel"
            )
        from slipway.sources import SourceError, fetch

        try:
            return fetch(told).path
        except SourceError as error:
            raise EvaluationError(f"The base of {self.path}: {error}", "NoModel") from error

    def open(self, task: Task) -> Opened:
        """Load it for a task.

        Raises:
            EvaluationError: it cannot be loaded, or is no model for the task.
        """
        import torch
        from transformers import AutoConfig, AutoTokenizer
        from transformers.utils import logging

        base = self.base_folder() if self.is_adapter else self.path
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        # Progress is the caller's to tell.
        logging.disable_progress_bar()
        try:
            config = AutoConfig.from_pretrained(base)
            named = self.path if (self.path / "tokenizer_config.json").exists() else base
            tokenizer = AutoTokenizer.from_pretrained(named)
            labels = self._labels(config) if task in ("classify", "tag") else ()
            # On a CPU answers are compared in float32, whatever the weights are kept in.
            dtype = "auto" if torch.cuda.is_available() else torch.float32
            heads = {
                "num_labels": len(labels),
                "id2label": dict(enumerate(labels)),
                "label2id": {label: at for at, label in enumerate(labels)},
            }
            loader = _loader(task, config)
            model = loader.from_pretrained(base, dtype=dtype, **(heads if labels else {}))
            if self.is_adapter:
                from peft import PeftModel

                model = PeftModel.from_pretrained(model, self.path)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise EvaluationError(f"{self.path} cannot be loaded for {task}: {error}", "NoModel") from error
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        if model.config.pad_token_id is None:
            model.config.pad_token_id = tokenizer.pad_token_id
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return Opened(model.to(device).eval(), tokenizer, labels)

    def _labels(self, config: Any) -> tuple[str, ...]:
        told = self._json("training.json").get("labels")
        if isinstance(told, list) and told:
            return tuple(map(str, told))
        if self.is_adapter and (self.path / "config.json").exists():
            config = type(config).from_pretrained(self.path)
        heads = [each for each in config.architectures or () if "Classification" in each]
        if not heads and not self.is_adapter:
            raise EvaluationError(f"{self.path} has no head that gives labels.", "NoLabels")
        return tuple(config.id2label[at] for at in sorted(config.id2label))

    def _json(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads((self.path / name).read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _loader(task: Task, config: Any) -> Any:
    import transformers

    match task:
        case "classify":
            return transformers.AutoModelForSequenceClassification
        case "tag":
            return transformers.AutoModelForTokenClassification
        case _ if config.is_encoder_decoder:
            return transformers.AutoModelForSeq2SeqLM
        case _:
            return transformers.AutoModelForCausalLM
