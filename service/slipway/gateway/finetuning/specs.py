"""A job as a FineTune: pure."""

from typing import Any

import orjson

from slipway.gateway.finetuning.requests import learning_rate
from slipway.gateway.finetuning.store import Job
from slipway.objects import FineTune

JOB_LABEL = "slipway.dev/fine-tuning-job"
OWNER_ANNOTATION = "slipway.dev/owner"
TRAINING, VALIDATION = "training", "validation"
_FORMATS = {"supervised": "chat", "dpo": "preference"}


def fine_tune(row: Job, sources: dict[str, str]) -> FineTune:
    """What is asked for; `sources` says where the examples of each file lie, by `training` and `validation`.

    A tenth of the examples is kept back for the evaluation, another for validation where no file is given.
    """
    method = orjson.loads(row.method)
    kind = method["type"]
    values = method[kind]["hyperparameters"]
    hyperparameters: dict[str, Any] = {
        "epochs": values["n_epochs"],
        "batchSize": values["batch_size"],
        "learningRate": f"{learning_rate(kind, values['learning_rate_multiplier']):.9g}",
        "seed": row.seed,
    }
    if "beta" in values:
        hyperparameters["beta"] = f"{values['beta']:.9g}"
    dataset: dict[str, Any] = {
        "format": _FORMATS[kind],
        "sources": [
            {"name": part, "source": source} | ({"part": VALIDATION} if part == VALIDATION else {})
            for part, source in sources.items()
        ],
    }
    if VALIDATION in sources:
        dataset["split"] = {"validation": "0"}
    return FineTune.model_validate(
        {
            "metadata": {
                "name": row.id,
                "namespace": row.namespace or None,
                "labels": {JOB_LABEL: row.id},
                "annotations": {OWNER_ANNOTATION: row.owner},
            },
            "spec": {
                "baseModel": {"source": row.source, "name": row.model},
                "dataset": dataset,
                "hyperparameters": hyperparameters,
                "deploy": {"service": row.service, "name": row.tuned_model},
                "suspend": row.wanted == "pause",
                "cancel": row.wanted == "cancel",
            },
        }
    )
