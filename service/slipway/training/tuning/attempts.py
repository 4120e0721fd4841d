"""One attempt at a job: data, model and loop put together."""

import json
from dataclasses import dataclass
from shutil import rmtree
from typing import Any

import numpy as np
import torch

from slipway.training.data.versions import Part
from slipway.training.errors import DataError, TuningError
from slipway.training.runs import write_atomically
from slipway.training.stages import Context
from slipway.training.tuning import (
    artifacts,
    devices,
    encoding,
    memory,
    models,
    packing,
    plans,
    references,
    worlds,
)
from slipway.training.tuning.conversations import IGNORED
from slipway.training.tuning.devices import Precision
from slipway.training.tuning.examples import Examples
from slipway.training.tuning.jobs import Report, TrainingJob
from slipway.training.tuning.loop import Loop, Standing
from slipway.training.tuning.masters import Masters
from slipway.training.tuning.models import Base
from slipway.training.tuning.objectives import Objective, balanced, objective_of
from slipway.training.tuning.plans import Plan
from slipway.training.tuning.worlds import World

_PARTS: tuple[Part, ...] = ("train", "validation")
_ADAM = ("adam_beta1", "adam_beta2", "adam_epsilon")


@dataclass(frozen=True, slots=True)
class _Data:
    """What is learned from, as tokens."""

    train: Examples
    validation: Examples
    labels: tuple[str, ...]
    preference: bool
    dropped: dict[str, int]


def attempt(
    job: TrainingJob, context: Context, report: Report | None, fingerprint: str, plan: Plan | None
) -> None:
    """Train to the end, and write the artifact and `trained.json`; raises as `training.train`."""
    _quiet()
    device = devices.find_device()
    world = worlds.join(device)
    try:
        _attempt(job, context, report, fingerprint, plan, device, world)
    finally:
        world.leave()


def _attempt(
    job: TrainingJob,
    context: Context,
    report: Report | None,
    fingerprint: str,
    plan: Plan | None,
    device: torch.device,
    world: World,
) -> None:
    settings = job.hyperparameters
    adam = _adam(settings.extra)
    plan = world.shared(plan)
    base = models.look(job)
    data = _data(job, context, base, world)
    precision = plan.precision if plan else world.shared(devices.choose_precision(settings.precision, device))
    if world.leads:
        context.tell("Loading the base model")
    model = models.load(job, base, data.labels, devices.dtype_of(precision), device)
    if plan is None:
        plan = world.shared(_decide(job, base, data, model, fingerprint, precision, device, world))
        if world.leads:
            plans.keep(job.folder, plan)
    elif world.leads and (changed := plans.changes(plan, world.size, device)):
        context.run.say(f"The result may differ in rounding: {'; '.join(changed)}.", "warning")
    loop = Loop(
        job=job,
        context=context,
        plan=plan,
        world=world,
        model=model,
        masters=Masters(model, weight_decay=settings.weight_decay.number, **adam),
        train=_objective(job, context, base, data, model, plan, device, world, "train"),
        validation=_objective(job, context, base, data, model, plan, device, world, "validation")
        if len(data.validation)
        else None,
        report=report,
    )
    if world.leads and settings.early_stopping is not None and loop.validation is None:
        context.run.say("There is no validation part, so earlyStopping never ends the training.", "warning")
    models.set_training(model, job.method, preference=data.preference)
    standing = loop.run()
    if world.leads:
        _leave(job, plan, base, data, loop, standing)
    world.wait()


def _leave(job: TrainingJob, plan: Plan, base: Base, data: _Data, loop: Loop, standing: Standing) -> None:
    """Write what came of it."""
    document = artifacts.describe(
        job,
        plan,
        labels=data.labels,
        sources=data.train.names,
        parameters={
            "trained": loop.masters.count,
            "all": sum(each.numel() for each in loop.model.parameters()),
        },
    ) | {
        "steps": standing.step,
        "tokens": standing.tokens,
        "seconds": standing.seconds,
        "metrics": standing.metrics,
        "bestStep": standing.best_step,
        "dropped": data.dropped,
    }
    saved = job.save and not standing.pruned
    if saved:
        artifacts.write(job, loop.model, base.tokenizer, document)
    document |= {"saved": saved, "pruned": standing.pruned}
    write_atomically(job.folder / "trained.json", json.dumps(document, indent=1, sort_keys=True))
    # Nothing goes on from here any more, and an optimizer's state is larger than what it made.
    rmtree(job.folder / "checkpoints", ignore_errors=True)


def _data(job: TrainingJob, context: Context, base: Base, world: World) -> _Data:
    if world.leads:
        context.tell("Making tokens of the records")
    labels = encoding.labels_of(job.dataset, job.task)
    parts: dict[Part, tuple[Examples, encoding.Facts]] = {}
    for part in _PARTS:
        encoder = encoding.Encoder(
            base.tokenizer, job.hyperparameters.max_length, labels, base.sequence_to_sequence
        )
        if world.leads:
            encoding.encode_part(job.dataset, part, encoder, job.folder / "tokens", context.check)
        world.wait()
        parts[part] = encoding.read_part(job.dataset, part, encoder, job.folder / "tokens")
    (train, facts), (validation, _) = parts["train"], parts["validation"]
    if not len(train):
        raise DataError("Nothing in the training part can be learned from.", "NoData")
    if "preference" in facts.formats and len(facts.formats) > 1:
        raise DataError(
            "Preferences are learned by another loss and cannot be mixed with other formats; make two"
            " FineTunes of it, one after the other.",
            "MixedFormats",
        )
    if world.leads and facts.dropped:
        told = ", ".join(f"{count} {reason}" for reason, count in facts.dropped.items())
        context.run.say(f"Of the training part's records: {told}.", "warning")
    return _Data(train, validation, labels, "preference" in facts.formats, facts.dropped)


def _decide(
    job: TrainingJob,
    base: Base,
    data: _Data,
    model: Any,
    fingerprint: str,
    precision: Precision,
    device: torch.device,
    world: World,
) -> Plan:
    settings = job.hyperparameters
    causal = job.task == "generate" and not base.sequence_to_sequence
    share = -(-settings.batch_size // world.size)
    lengths = data.train.lengths.reshape(-1, 2).sum(axis=1) if data.preference else data.train.lengths
    width = 2 if precision == "bfloat16" else 4
    per_token = memory.bytes_per_token(model.config, width, checkpointing=settings.gradient_checkpointing)
    return Plan(
        fingerprint=fingerprint,
        precision=precision,
        packed=settings.packing
        and causal
        and packing.keeps_apart(model, int(model.get_input_embeddings().weight.shape[0]), device),
        micro=min(settings.micro_batch_size, share)
        if settings.micro_batch_size
        else memory.fitting(memory.free(device), per_token, int(lengths.max()), share),
        threads=torch.get_num_threads(),
        processes=world.size,
        device=device.type,
    )


def _objective(
    job: TrainingJob,
    context: Context,
    base: Base,
    data: _Data,
    model: Any,
    plan: Plan,
    device: torch.device,
    world: World,
    part: Part,
) -> Objective:
    settings = job.hyperparameters
    found = objective_of(
        model,
        data.train if part == "train" else data.validation,
        task=job.task,
        pad=base.tokenizer.pad_token_id or 0,
        packed=plan.packed,
        device=device,
        smoothing=settings.label_smoothing.number,
        class_weights=_class_weights(job, data, device),
        beta=settings.beta.number,
    )
    if data.preference:
        found.reference = references.kept(
            found, job.folder / f"reference-{part}.npy", plan.micro, world, context.check
        )
    return found


def _class_weights(job: TrainingJob, data: _Data, device: torch.device) -> torch.Tensor | None:
    if job.hyperparameters.class_weights == "none" or job.task == "generate":
        return None
    labels = data.train.labels
    counts = np.bincount(labels[labels != IGNORED], minlength=len(data.labels))
    return torch.from_numpy(balanced(counts)).to(device)


def _adam(extra: dict[str, Any]) -> dict[str, Any]:
    if unknown := sorted(set(extra) - set(_ADAM)):
        raise TuningError(
            f"hyperparameters.extra: {', '.join(unknown)} is not known; what may stand there is"
            f" {', '.join(_ADAM)}.",
            "UnknownHyperparameter",
        )
    first, second, epsilon = (
        float(extra.get(name, default)) for name, default in zip(_ADAM, (0.9, 0.999, 1e-8), strict=True)
    )
    return {"betas": (first, second), "epsilon": epsilon}


def _quiet() -> None:
    """Progress is ours to tell."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
