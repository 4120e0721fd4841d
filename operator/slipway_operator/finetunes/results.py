"""What of a stage's result belongs into the FineTune's status."""

from collections.abc import Mapping
from typing import Any

from slipway.objects import FineTune
from slipway.objects.finetunes import Stage
from slipway_operator.finetunes.children import artifact_source

_MOST_TRIALS = 64


def absorb(fine_tune: FineTune, stage: Stage, result: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the status that a stage's result changes."""
    if stage == "prepare":
        return {"dataset": str(result.get("dataset", ""))}
    if stage == "search":
        trials = [_trial(each) for each in list(result.get("trials") or ())[:_MOST_TRIALS]]
        return {"trials": trials, "bestTrial": str(result.get("best", ""))}
    if stage in ("train", "evaluate"):
        metrics = decimals(result.get("metrics") or {})
        return {"metrics": metrics, "metric": headline(fine_tune, metrics)}
    if stage == "register":
        return {"artifact": _artifact(fine_tune, result)}
    return {}


def decimals(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Numbers as text, of six digits."""
    return {
        str(name): f"{value:.6g}" if isinstance(value, int | float) else str(value)
        for name, value in metrics.items()
    }


def headline(fine_tune: FineTune, metrics: Mapping[str, str]) -> str:
    """The metric that counts most: of the first gate, or the first that was asked for, or that is there."""
    evaluation = fine_tune.spec.evaluation
    for name in (*(gate.metric for gate in evaluation.gates), *evaluation.metrics, *metrics):
        if name in metrics:
            return (
                f"{name} {float(metrics[name]):.4g}" if _number(metrics[name]) else f"{name} {metrics[name]}"
            )
    return ""


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _artifact(fine_tune: FineTune, result: Mapping[str, Any]) -> dict[str, Any]:
    name, version = str(result.get("name", fine_tune.metadata.name)), str(result.get("version", ""))
    digest = str(result.get("digest", ""))
    kind = result.get("kind") or ("model" if fine_tune.spec.method in _WHOLE else "adapter")
    said = {
        "uri": str(result.get("uri", "")),
        "kind": kind,
        "version": version,
        "digest": digest,
        "modelCard": result.get("modelCard"),
        "source": artifact_source(fine_tune, name, version, digest, str(result.get("uri", ""))),
    }
    return {name: value for name, value in said.items() if value}


_WHOLE = ("full", "frozen", "head")


def _trial(trial: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {str(name): str(value) for name, value in (trial.get("parameters") or {}).items()}
    said = {"name": str(trial["name"]), "phase": str(trial.get("phase", "")), "parameters": parameters}
    return {**said, "metrics": decimals(trial.get("metrics") or {})}
