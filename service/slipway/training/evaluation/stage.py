"""The stage `evaluate`: the trained artifact over the test part, beside its base and what is deployed."""

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from slipway.objects.finetunes import EvaluationSpec
from slipway.sources import SourceError, fetch
from slipway.training.data.versions import DatasetVersion
from slipway.training.errors import EvaluationError, RegistryError
from slipway.training.evaluation import examples, gates, peeks
from slipway.training.evaluation.asking import Answerer, Asked
from slipway.training.evaluation.evaluating import Plan, Sides, evaluate
from slipway.training.evaluation.examples import Example, Task
from slipway.training.evaluation.gates import Rival
from slipway.training.evaluation.models.folders import Folder
from slipway.training.evaluation.models.frequent import MostFrequent
from slipway.training.evaluation.models.local import LocalModel
from slipway.training.evaluation.models.served import ServedModel
from slipway.training.evaluation.outputs import Outputs
from slipway.training.evaluation.results import Evaluation
from slipway.training.registry.store import Registry
from slipway.training.stages import Context, Done

JUDGE_KEY = "SLIPWAY_JUDGE_KEY"
_TRAINING_ROWS = 5000
"""Rows of the training part that the privacy suites look at."""


def work(context: Context) -> Done:
    """Evaluate what was trained; its gates decide whether the FineTune goes on.

    Raises:
        GateError: a gate does not hold; metric, value and bound are in the message.
        EvaluationError: a metric, a suite or a model that cannot be asked.
        Stopped: what was answered is kept.
    """
    spec, name = context.fine_tune.spec, context.run.name
    version = DatasetVersion.open(context.workspace, context.result("prepare")["dataset"])
    trained = context.result("train")
    outputs = Outputs(context.run.folder / "evaluation")
    rows = list(examples.examples(version.rows("test")))
    task: Task = rows[0].task if rows else _TASKS[spec.task]
    if not rows:
        context.run.say(f"The test part of {version.reference} is empty.", "warning")
    base = _base(spec.base_model.source)
    candidate = LocalModel(
        Folder(context.workspace.root / trained["artifact"], _over(trained, base)), task, name
    )
    plan = Plan(spec.evaluation, task, f"the test part of {version.reference}")
    asked = _asked(candidate, outputs, context)
    sides = Sides(
        asked,
        _rivals(context, base, task, version, outputs),
        _judge(spec.evaluation, outputs, context),
        list(islice(_training(version), _TRAINING_ROWS)),
    )
    reads = peeks.look(version.folder, f"runs/{name}", f"{name} {candidate.identity}") if rows else 0
    if rows:
        context.run.say(f"The test part of {version.reference} is read; {reads} evaluations have read it.")
    found = evaluate(plan, sides, rows)
    found.test_reads = reads
    outputs.write(found)
    gates.require(found.gates)
    return Done(_message(found), _result(found, outputs, context.workspace.root))


_TASKS: dict[str, Task] = {"generate": "generate", "classify": "classify", "tag": "tag"}


def _over(trained: dict[str, Any], base: Path) -> Path | None:
    return base if trained.get("kind") == "adapter" else None


def _base(source: str) -> Path:
    try:
        return fetch(source).path
    except SourceError as error:
        raise EvaluationError(f"The base model cannot be had: {error}", "NoModel") from error


def _asked(model: Answerer, outputs: Outputs, context: Context) -> Asked:
    return Asked.of(model, outputs.answers, context)


def _rivals(
    context: Context, base: Path, task: Task, version: DatasetVersion, outputs: Outputs
) -> dict[Rival, Asked]:
    """The base, and the promoted version of the same name."""
    found: dict[Rival, Asked] = {}
    # A base model has no head for these labels: what can be had without learning stands in for it.
    one: Answerer = LocalModel(Folder(base), task, "base")
    found["base"] = _asked(one if task in ("generate", "text") else _frequent(version), outputs, context)
    deployed = promoted(Registry.of(context.workspace), context.fine_tune.metadata.name)
    if deployed is not None:
        name, folder = deployed
        model = Folder(folder, base if (folder / "adapter_config.json").exists() else None)
        found["deployed"] = _asked(LocalModel(model, task, f"deployed {name}"), outputs, context)
    return found


def _frequent(version: DatasetVersion) -> MostFrequent:
    return MostFrequent.of(_training(version))


def promoted(registry: Registry, name: str) -> tuple[str, Path] | None:
    """The version of a name that is in use, and its folder; None if none is."""
    try:
        for version in reversed(registry.versions(name)):
            if registry.standing(name, version).stage == "promoted":
                return version, registry.folder(name, version)
    except RegistryError as error:
        raise EvaluationError(f"What is deployed cannot be looked up: {error}", "NoModel") from error
    return None


def _judge(spec: EvaluationSpec, outputs: Outputs, context: Context) -> Asked | None:
    if spec.judge is None:
        return None
    served = ServedModel(spec.judge.url, spec.judge.model, os.environ.get(JUDGE_KEY, ""))
    return _asked(served, outputs, context)


def _training(version: DatasetVersion) -> Iterable[Example]:
    return examples.examples(version.rows("train"))


def _message(found: Evaluation) -> str:
    figures = ", ".join(f"{name} {value:.4g}" for name, value in list(found.metrics.items())[:4])
    passed = f"; {len(found.gates)} gates passed" if found.gates else ""
    return f"Evaluated on {len(found.predictions)} examples: {figures or 'no metric'}{passed}."


def _result(found: Evaluation, outputs: Outputs, root: Path) -> dict[str, Any]:
    return {
        "metrics": found.metrics,
        "intervals": found.intervals,
        "base": found.of("base"),
        "deployed": found.of("deployed"),
        "gates": [{name: gate.document()[name] for name in _GATE} for gate in found.gates],
        "testReads": found.test_reads,
        "report": str(outputs.report.relative_to(root)),
        "predictions": str(outputs.predictions.relative_to(root)),
        "evaluation": str(outputs.document.relative_to(root)),
    }


_GATE = ("metric", "bound", "value", "passed")
