"""Which models fit, for serving and for each way of training, and which of them to begin with, and why."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from slipway.training.choosing.architectures import Architecture
from slipway.training.choosing.candidates import Candidate, Task
from slipway.training.choosing.machines import Machine
from slipway.training.choosing.memory import (
    GIB,
    METHODS,
    Device,
    Method,
    Serving,
    Training,
    most_tokens,
    serving,
    training,
)

PERMISSIVE = frozenset({"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "unlicense"})
"""Licences that ask for no more than their own text to be kept."""
FEW, MANY = 100, 50_000
"""Rows below which examples in the prompt or a head over fixed features are the better beginning, and rows
above which all weights have enough to learn from."""
_SLOW = 2_000_000_000
"""Active parameters above which a CPU, which reads all of them for each token, answers slower than people
read."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the model is for."""

    task: Task = "generate"
    languages: tuple[str, ...] = ("en",)
    """ISO 639-1."""
    rows: int | None = None
    """Of the data to learn from."""
    licences: tuple[str, ...] = ("permissive",)
    """`any`, `permissive`, or identifiers."""
    context: int = 2048
    """Tokens of a conversation, its answer included."""
    concurrency: int = 8
    """Conversations at the same time."""
    length: int = 1024
    """Tokens of an example to learn from."""


@dataclass(frozen=True, slots=True)
class ServingFit:
    """Whether a device serves a model."""

    device: Device
    fits: bool
    needs: Serving
    budget: int
    """Bytes that are there."""
    concurrency: int
    """Conversations of the context's length that fit at the same time."""


@dataclass(frozen=True, slots=True)
class TrainingFit:
    """Whether a device trains a model by a method."""

    method: Method
    device: Device
    fits: bool
    needs: Training
    """With one example at a time."""
    budget: int
    micro_batch: int
    """Examples that fit at once."""
    checkpointing: bool
    """Whether they fit only if activations are computed twice."""


@dataclass(slots=True)
class Advice:
    """What is to be said of a candidate."""

    candidate: Candidate
    serving: list[ServingFit]
    training: list[TrainingFit]
    against: list[str] = field(default_factory=list)
    """Why it is not for this; sentences. Empty: it is suitable."""
    why: list[str] = field(default_factory=list)
    """What speaks for it, and what to know of it; sentences."""
    method: Method | None = None
    """To begin with."""

    @property
    def suitable(self) -> bool:
        return not self.against

    @property
    def device(self) -> Device | None:
        """Where it is served."""
        return next((fit.device for fit in self.serving if fit.fits), None)

    def document(self) -> dict[str, Any]:
        """As JSON; memory in bytes."""
        model = self.candidate.architecture
        return {
            "name": self.candidate.name,
            "source": self.candidate.source,
            "licence": self.candidate.licence,
            "languages": list(self.candidate.languages),
            "parameters": model.parameters,
            "context": model.context,
            "suitable": self.suitable,
            "device": self.device,
            "method": self.method,
            "why": self.why,
            "against": self.against,
            "serving": [
                {**asdict(fit), "needs": {**asdict(fit.needs), "total": fit.needs.total}}
                for fit in self.serving
            ],
            "training": [
                {**asdict(fit), "needs": {**asdict(fit.needs), "total": fit.needs.total}}
                for fit in self.training
            ],
        }


def recommend(candidates: Sequence[Candidate], wish: Wish, machine: Machine) -> list[Advice]:
    """What is to be said of each candidate, the best first and those that are not suitable last."""
    advice = [advise(candidate, wish, machine) for candidate in candidates]
    return sorted(advice, key=lambda each: _rank(each, wish))


def advise(candidate: Candidate, wish: Wish, machine: Machine) -> Advice:
    """What is to be said of one candidate."""
    found = Advice(candidate, _serving(candidate, wish, machine), _training(candidate, wish, machine))
    found.against = _against(found, wish)
    found.method = _method(found, wish)
    found.why = _why(found, wish)
    return found


def _serving(candidate: Candidate, wish: Wish, machine: Machine) -> list[ServingFit]:
    fits = []
    budgets: list[tuple[Device, int]] = [("gpu", machine.gpu_budget), ("cpu", machine.cpu_budget)]
    for device, budget in budgets:
        if not budget:
            continue
        needs = serving(candidate.architecture, device, wish.context, wish.concurrency)
        each = needs.cache // wish.concurrency
        room = budget - (needs.total - needs.cache)
        most = room // each if each else wish.concurrency
        fits.append(ServingFit(device, needs.total <= budget, needs, budget, max(0, most)))
    return fits


def _training(candidate: Candidate, wish: Wish, machine: Machine) -> list[TrainingFit]:
    fits = []
    budgets: list[tuple[Device, int]] = [("gpu", machine.one_gpu_budget), ("cpu", machine.cpu_budget)]
    for device, budget in budgets:
        for method in METHODS if budget else ():
            if method == "qlora" and device == "cpu":
                continue  # bitsandbytes' kernels are the GPU's.
            if method == "head" and wish.task == "generate":
                continue
            fits.append(_one(candidate, method, device, budget, wish))
    return fits


def _one(candidate: Candidate, method: Method, device: Device, budget: int, wish: Wish) -> TrainingFit:
    model, tokens = candidate.architecture, min(wish.length, candidate.architecture.context)
    logits = wish.task == "generate"
    for checkpointing in (False, True):
        needs = training(model, method, device, tokens, checkpointing=checkpointing, logits=logits)
        micro_batch = most_tokens(budget, needs, tokens) // tokens
        if micro_batch:
            return TrainingFit(method, device, True, needs, budget, micro_batch, checkpointing)
    return TrainingFit(method, device, False, needs, budget, 0, True)


def _against(found: Advice, wish: Wish) -> list[str]:
    candidate, model = found.candidate, found.candidate.architecture
    against = []
    if wish.task not in candidate.tasks:
        against.append(f"It is no model for the task {wish.task}.")
    missing = [each for each in wish.languages if candidate.languages and each not in candidate.languages]
    if missing:
        against.append(f"It was not made for {', '.join(missing)}.")
    if not _licensed(candidate.licence, wish.licences):
        licence = candidate.licence or "not known"
        against.append(f"Its licence is {licence}; {', '.join(wish.licences)} is asked for.")
    if wish.task == "generate" and model.context < wish.context:
        against.append(f"It reads {model.context} tokens; {wish.context} are asked for.")
    if not found.serving:
        against.append("There is no memory to serve it in.")
    elif not any(fit.fits for fit in found.serving):
        fit = max(found.serving, key=lambda each: each.budget)
        against.append(
            f"Serving takes {_gib(fit.needs.total)} (weights {_gib(fit.needs.weights)}, keys and values"
            f" {_gib(fit.needs.cache)}); the {fit.device} has {_gib(fit.budget)}."
        )
    if not any(fit.fits for fit in found.training):
        against.append("No way of training it fits.")
    return against


def _licensed(licence: str | None, wanted: Sequence[str]) -> bool:
    if "any" in wanted:
        return True
    known = (licence or "").lower()
    allowed = {each.lower() for each in wanted if each != "permissive"}
    return known in allowed or ("permissive" in wanted and known in PERMISSIVE)


def _method(found: Advice, wish: Wish) -> Method | None:
    """What fits and suits the amount of data."""
    fitting = {fit.method for fit in found.training if fit.fits}
    encoder = found.candidate.architecture.shape == "encoder"
    order: tuple[Method, ...]
    if wish.rows is not None and wish.rows < FEW and wish.task != "generate":
        order = ("head", "lora", "qlora")
    elif encoder or (wish.rows is not None and wish.rows >= MANY):
        order = ("full", "lora", "frozen", "qlora")
    else:
        order = ("lora", "qlora", "frozen")
    return next((method for method in order if method in fitting), None)


def _why(found: Advice, wish: Wish) -> list[str]:
    model = found.candidate.architecture
    why = [_served(fit, model, wish) for fit in found.serving if fit.fits]
    if found.device == "cpu" and model.active > _SLOW:
        why.append(
            f"On a CPU it answers slowly: each token reads {_gib(2 * model.active)} of weights from memory."
        )
    chosen = next((fit for fit in found.training if fit.fits and fit.method == found.method), None)
    if chosen is not None:
        twice = ", with gradient checkpointing" if chosen.checkpointing else ""
        why.append(
            f"{chosen.method} trains {_millions(chosen.needs.trained)} parameters on the {chosen.device},"
            f" {chosen.micro_batch} examples of {min(wish.length, model.context)} tokens at once{twice}."
        )
    if wish.rows is not None:
        why.append(_amount(wish, found.method))
    return why


def _served(fit: ServingFit, model: Architecture, wish: Wish) -> str:
    room = f"{_gib(fit.needs.total)} of {_gib(fit.budget)}"
    if model.shape == "encoder":
        return f"The {fit.device} serves it in {room}."
    return (
        f"The {fit.device} serves {fit.concurrency} conversations of {wish.context} tokens at the same time;"
        f" {wish.concurrency} take {room}."
    )


def _amount(wish: Wish, method: Method | None) -> str:
    if wish.rows is not None and wish.rows < FEW:
        return (
            f"{wish.rows} rows are few: measure a few-shot prompt first (`slipway models baseline --shots 4`)"
            " and train only if that falls short."
        )
    if wish.rows is not None and wish.rows >= MANY:
        return f"{wish.rows} rows are enough for all weights to learn from, where they fit."
    return (
        f"{wish.rows} rows suit {method or 'an adapter'}: few weights are trained, so that less is forgotten."
    )


def _rank(found: Advice, wish: Wish) -> tuple[object, ...]:
    """Suitable ones first; then what answers fast enough, on the faster device; then the largest, since more
    parameters know more (embeddings do not count: they grow with the languages); of equals the newest."""
    model = found.candidate.architecture
    size = model.active - model.vocab * model.hidden
    slow = found.device == "cpu" and model.active > _SLOW
    fitted = wish.task == "generate" or model.shape == "encoder"
    newest = tuple(-int(part) for part in found.candidate.released.split("-") if part)
    return (
        not found.suitable,
        len(found.against),
        found.device != "gpu",
        slow,
        not fitted,
        -size if not slow else size,
        newest,
        found.candidate.name,
    )


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def _millions(count: int) -> str:
    return f"{count / 1e9:.2f} billion" if count >= 1e9 else f"{count / 1e6:.1f} million"
