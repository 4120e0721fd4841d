"""The training loop: from a checkpoint or the beginning to the last step.

It is our own, and not Transformers' Trainer, because of what is asked of it. Everything drawn at random is a
function of seed and step, so an attempt that was killed anywhere leads to the same weights; running out of
memory is answered inside the step; the head computes only what is learned from; sums of gradients are float32
and weighted by tokens. Trainer skips batches to find its place, keeps states of generators, and has no
place where a failed step could be done again in smaller parts.
"""

import gc
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from slipway.training.errors import Stopped, TuningError
from slipway.training.runs import write_atomically
from slipway.training.stages import Context
from slipway.training.tuning import batches, checkpoints, memory, schedules
from slipway.training.tuning.batches import Indices
from slipway.training.tuning.evaluating import evaluate
from slipway.training.tuning.jobs import Report, TrainingJob
from slipway.training.tuning.masters import Masters
from slipway.training.tuning.objectives import Objective
from slipway.training.tuning.plans import Plan
from slipway.training.tuning.worlds import World

T = TypeVar("T")
_CHECKPOINT_SHARE = 20
"""A checkpoint may take a twentieth of the time."""


@dataclass(slots=True)
class Standing:
    """Where a training is; all that a checkpoint holds beside tensors."""

    step: int = 0
    micro: int = 1
    tokens: int = 0
    seconds: float = 0.0
    evaluated: int = 0
    """The step of the last evaluation."""
    best_loss: float = math.inf
    best_step: int = 0
    worse: int = 0
    """Evaluations since the best."""
    pruned: bool = False
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Loop:
    """One attempt at a job."""

    job: TrainingJob
    context: Context
    plan: Plan
    world: World
    model: Any
    masters: Masters
    train: Objective
    validation: Objective | None
    report: Report | None = None
    clock: Callable[[], float] = time.monotonic
    standing: Standing = field(default_factory=Standing)
    best: dict[str, Tensor] = field(default_factory=dict)
    _batches: tuple[int, list[Indices]] = (-1, [])
    _saved: float = 0.0
    _cost: float = 0.0
    _since: float = 0.0

    @property
    def per_epoch(self) -> int:
        """Steps of one pass over the data."""
        return batches.steps_of_epoch(len(self.train.lengths), self.job.hyperparameters.batch_size)

    @property
    def total(self) -> int:
        """Steps of the whole training."""
        settings = self.job.hyperparameters
        steps = settings.epochs * self.per_epoch
        return steps if settings.max_steps is None else min(steps, settings.max_steps)

    def run(self) -> Standing:
        """Train to the end. Raises Stopped, TuningError."""
        self._resume()
        self._since = self._saved = self.clock()
        while True:
            if self.validation is not None and self._evaluation_is_due():
                self._evaluate(self.validation)
            if self.standing.step >= self.total or self._ended_early():
                break
            stop = self._step()
            if stop:
                self._save()
                raise Stopped
            if self._checkpoint_is_due():
                self._save()
        if self.best:
            self.masters.put(self.best)
        self._count_time()
        return self.standing

    # --- one step ---------------------------------------------------------------------------------

    def _step(self) -> bool:
        """One step of the optimizer; whether somebody asked to stop."""
        settings, standing = self.job.hyperparameters, self.standing
        began = self.clock()
        batch = self._batch(standing.step)
        mine = batches.share(batch, self.train.lengths, self.world.rank, self.world.size)
        weight = self.train.weight(batch)
        costs = self._fitting(lambda size: self._backward(mine, size, weight))
        self.masters.reduce(self.world.total)
        cost, places, stop = self._told(costs, mine)
        if not math.isfinite(cost):
            self._not_a_number(costs, mine, batch)
        norm = self.masters.clip(settings.max_grad_norm.number)
        warmup = schedules.warmup_steps(settings.warmup.number, self.total)
        rate = settings.learning_rate.number * schedules.factor(
            settings.scheduler, standing.step, self.total, warmup
        )
        grown = float(norm)
        if not math.isfinite(grown):
            self._not_a_number([], mine, batch)
        self.masters.step(rate)
        standing.step += 1
        worked = int(self.train.lengths[batch].sum())
        standing.tokens += worked
        figures = {
            "loss": cost / places,
            "learning_rate": rate,
            "grad_norm": grown,
            "epoch": standing.step / self.per_epoch,
            "tokens_per_second": worked / max(1e-9, self.clock() - began),
        }
        standing.metrics["loss"] = figures["loss"]
        self._tell(figures)
        return stop

    def _backward(self, mine: Indices, size: int, weight: float) -> list[Tensor]:
        """Sums of gradients over this process's share of a batch; what each micro-batch costs."""
        self.masters.zero()
        costs: list[Tensor] = []
        for number, part in enumerate(batches.micro_batches(mine, self.train.lengths, size)):
            # What dropout draws depends on the step alone, not on what was drawn before.
            torch.manual_seed(self._seed(number))
            cost = self.train.cost(part)
            (cost.total / weight).backward()
            self.masters.collect()
            costs.append(cost.plain.sum())
        return costs

    def _told(self, costs: list[Tensor], mine: Indices) -> tuple[float, float, bool]:
        """Cost and places of the whole step, and whether any process was asked to stop."""
        own = torch.stack(costs).sum() if costs else torch.zeros((), device=self.train.device)
        figures = torch.stack(
            [
                own.double(),
                torch.tensor(float(self.train.places(mine).sum()), dtype=torch.float64, device=own.device),
                torch.tensor(float(self.context.stopping()), dtype=torch.float64, device=own.device),
            ]
        )
        self.world.total(figures)
        cost, places, stop = figures.tolist()
        return cost, places, stop > 0

    def _seed(self, number: int) -> int:
        drawn = np.random.SeedSequence(
            (self.job.hyperparameters.seed, self.standing.step, self.world.rank, number)
        ).generate_state(1, np.uint64)
        return int(drawn[0]) >> 1

    def _batch(self, step: int) -> Indices:
        number, place = divmod(step, self.per_epoch)
        if self._batches[0] != number:
            settings = self.job.hyperparameters
            found = batches.epoch(
                self.train.lengths,
                settings.batch_size,
                settings.seed,
                number,
                by_length=not self.plan.packed,
            )
            self._batches = (number, found)
        return self._batches[1][place]

    def _not_a_number(self, costs: list[Tensor], mine: Indices, batch: Indices) -> None:
        parts = batches.micro_batches(mine, self.train.lengths, self.standing.micro)
        bad = [part for part, cost in zip(parts, costs, strict=False) if not math.isfinite(float(cost))] or [
            batch
        ]
        members = sorted({at for part in bad for at in self.train.members(part)})
        records = list(dict.fromkeys(self.train.examples.record_ids(members)))
        raise TuningError(
            f"The {'loss' if costs else 'gradient'} of step {self.standing.step + 1} is no finite number. Its"
            f" records: {', '.join(records)}. Look at them, or lower learningRate or maxGradNorm, or use"
            " precision float32.",
            "NotANumber",
        )

    # --- memory -----------------------------------------------------------------------------------

    def _fitting(self, work: Callable[[int], T]) -> T:
        """Do `work` with as many units at once as memory lets; half as many each time that it does not."""
        while True:
            try:
                done = work(self.standing.micro)
            except (RuntimeError, MemoryError) as error:
                if not memory.is_out_of_memory(error):
                    raise
                told = str(error).splitlines()[0] if str(error) else type(error).__name__
            else:
                if self.train.device.type == "cpu" and self.standing.micro > 1 and memory.nearly_full():
                    self._halve("the control group's memory is nearly used up")
                return done
            # Outside of the handler: until here the error's frames hold the tensors of the failed step.
            if self.standing.micro == 1:
                raise TuningError(
                    f"One example at once is too much for this machine's memory ({told}). Lower maxLength,"
                    " turn on gradientCheckpointing, use method lora, or give it more memory.",
                    "OutOfMemory",
                )
            self._halve(told)

    def _halve(self, why: str) -> None:
        gc.collect()
        if self.train.device.type == "cuda":
            torch.cuda.empty_cache()
        self.standing.micro = max(1, self.standing.micro // 2)
        self.context.run.say(
            f"Out of memory at step {self.standing.step + 1} ({why}): from now on {self.standing.micro}"
            " examples are worked on at once, with accumulated gradients; the result is the same but for"
            " rounding.",
            "warning",
        )

    # --- evaluation -------------------------------------------------------------------------------

    def _evaluation_is_due(self) -> bool:
        step, count = self.standing.step, self.job.hyperparameters.evaluations
        if step == 0 or step == self.standing.evaluated or count == 0:
            return False
        place = step % self.per_epoch or self.per_epoch
        marks = {math.ceil(self.per_epoch * at / count) for at in range(1, count + 1)}
        return place in marks or step == self.total

    def _evaluate(self, validation: Objective) -> None:
        standing = self.standing

        def check() -> None:
            if self.world.size == 1 and self.context.stopping():
                self._save()
                raise Stopped

        figures = self._fitting(lambda size: evaluate(validation, size, self.world, check))
        standing.evaluated = standing.step
        standing.metrics |= figures
        if figures["eval_loss"] < standing.best_loss:
            standing.best_loss, standing.best_step, standing.worse = figures["eval_loss"], standing.step, 0
            if self.job.hyperparameters.early_stopping is not None:
                self.best = {name: tensor.clone() for name, tensor in self.masters.weights().items()}
        else:
            standing.worse += 1
        if self.world.leads:
            self.context.run.log(step=standing.step, epoch=standing.step / self.per_epoch, **figures)
        if self.report is not None and not self.report(standing.step, dict(standing.metrics)):
            standing.pruned = True
        self._save()

    def _ended_early(self) -> bool:
        patience = self.job.hyperparameters.early_stopping
        return self.standing.pruned or (patience is not None and self.standing.worse >= patience)

    # --- checkpoints ------------------------------------------------------------------------------

    def _resume(self) -> None:
        self.standing.micro = self.plan.micro
        found, broken = checkpoints.newest(self.job.folder / "checkpoints")
        run = self.context.run
        if self.world.leads:
            for sentence in broken:
                run.say(sentence, "warning")
        if found is not None:
            tensors = found.tensors
            self.best = {name[5:]: value for name, value in tensors.items() if name.startswith("best.")}
            self.masters.restore(tensors)
            known = {name: found.state[name] for name in asdict(Standing()) if name in found.state}
            self.standing = replace(Standing(), **known)
            if self.world.leads:
                run.say(f"Training goes on after step {found.step}.")
        if self.world.leads:
            _forget_metrics(self.context, self.standing.step)

    def _checkpoint_is_due(self) -> bool:
        pause = max(self.job.checkpoint_seconds, _CHECKPOINT_SHARE * self._cost)
        return self.clock() - self._saved >= pause

    def _save(self) -> None:
        self._count_time()
        began = self.clock()
        if self.world.leads:
            folder = self.job.folder / "checkpoints"
            tensors = self.masters.state() | {f"best.{name}": value for name, value in self.best.items()}
            checkpoints.save(folder, self.standing.step, tensors, asdict(self.standing))
            checkpoints.prune(folder, self.job.keep)
        self._saved = self.clock()
        self._cost = self._saved - began

    def _count_time(self) -> None:
        now = self.clock()
        self.standing.seconds += now - self._since
        self._since = now

    def _tell(self, figures: dict[str, float]) -> None:
        if not self.world.leads:
            return
        step = self.standing.step
        self.context.run.log(step=step, **figures)
        epochs = self.job.hyperparameters.epochs
        self.context.tell(
            f"Training, epoch {min(epochs, 1 + (step - 1) // self.per_epoch)} of {epochs}",
            step,
            self.total,
            **figures,
            **{name: value for name, value in self.standing.metrics.items() if name.startswith("eval_")},
        )


def _forget_metrics(context: Context, after: int) -> None:
    """Drop the lines of steps that are done again."""
    path = context.run.folder / "metrics.jsonl"
    if not path.exists():
        return
    lines = [line for line in context.run.metrics() if line.get("step", 0) <= after]
    write_atomically(path, "".join(json.dumps(line) + "\n" for line in lines))
