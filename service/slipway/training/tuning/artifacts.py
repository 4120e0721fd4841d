"""What a training leaves: safetensors, config, tokenizer, and training.json with all that a card needs."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import rmtree
from typing import Any

from slipway.training.tuning.jobs import TrainingJob
from slipway.training.tuning.models import kind_of
from slipway.training.tuning.plans import Plan

_PACKAGES = ("slipway", "torch", "transformers", "peft", "safetensors", "tokenizers")


def write(job: TrainingJob, model: Any, tokenizer: Any, document: dict[str, Any]) -> Path:
    """Save the model's trained part to the job's `artifact/`, wholly or not at all."""
    unfinished = job.folder / ".artifact.unfinished"
    rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    if kind_of(job.method) == "adapter":
        # Whether embeddings were changed is known (they never are); asking a hub for the base is not needed.
        model.save_pretrained(unfinished, safe_serialization=True, save_embedding_layers=False)
    else:
        model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    (unfinished / "README.md").unlink(missing_ok=True)  # PEFT's empty card; the registry writes a real one.
    (unfinished / "training.json").write_text(json.dumps(document, indent=1, sort_keys=True))
    rmtree(job.artifact, ignore_errors=True)
    return unfinished.replace(job.artifact)


def describe(
    job: TrainingJob, plan: Plan, *, labels: tuple[str, ...], sources: list[str], parameters: dict[str, int]
) -> dict[str, Any]:
    """What training.json says of how it was made; the loop adds what came of it."""
    return {
        "base": {
            "source": job.base_source or str(job.base),
            "digest": job.base_digest,
            "name": job.base.name,
        },
        "dataset": {"digest": job.dataset.digest, "sources": sources},
        "task": job.task,
        "method": job.method,
        "kind": kind_of(job.method),
        "hyperparameters": job.hyperparameters.model_dump(mode="json", by_alias=True),
        "seed": job.hyperparameters.seed,
        "labels": list(labels),
        "parameters": parameters,
        "precision": plan.precision,
        "packed": plan.packed,
        "threads": plan.threads,
        "processes": plan.processes,
        "device": plan.device,
        "fingerprint": plan.fingerprint,
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
