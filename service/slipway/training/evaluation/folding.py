"""K-fold cross-validation for small data: each row is judged by a model that was trained without it.

The rows of train and validation are dealt into K folds, those of a label evenly, those with the same prompt
together. For each fold a model is trained on the others and asked about it; all answers are then evaluated
as one test, whose slices are the folds. Made-up rows are left out: which row they were made of is not known.
The test part is not read.
"""

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from slipway.training.data.versions import DatasetVersion, Part
from slipway.training.errors import EvaluationError
from slipway.training.evaluation.examples import Example, Task, examples
from slipway.training.evaluation.models.folders import Folder
from slipway.training.evaluation.models.local import LocalModel
from slipway.training.evaluation.questions import Kind, Question, Reply
from slipway.training.records import Record
from slipway.training.stages import Context
from slipway.training.tuning.jobs import TrainingJob
from slipway.training.tuning.training import train

_VALIDATION = 10
"""Every tenth row of a fold's training is its validation."""

Dealt = Mapping[str, int]
"""Fold of each prompt, from 0."""


@dataclass(frozen=True, slots=True)
class FoldVersion(DatasetVersion):
    """A version of the data without the rows of one fold."""

    dealt: Dealt
    left_out: int
    count_of_folds: int

    @property
    def digest(self) -> str:
        """Of the whole version and of what is left out."""
        # Not super(): a dataclass with slots is another class than the one that this method was written in.
        text = f"{self.manifest.digest} {self.left_out}/{self.count_of_folds} {sorted(self.dealt.items())}"
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def rows(self, part: Part, columns: Sequence[str] | None = None) -> Iterator[Record]:
        """Rows of the other folds: nine tenths are `train`, one is `validation`."""
        if part == "test":
            raise EvaluationError("A fold has no test part.")
        whole = DatasetVersion(self.folder, self.manifest)
        kept = (row for row in _real(whole) if self.dealt[_prompt(row)] != self.left_out)
        for at, row in enumerate(kept):
            if (at % _VALIDATION == _VALIDATION - 1) == (part == "validation"):
                yield row if columns is None else cast(Record, {name: row.get(name) for name in columns})


@dataclass(slots=True)
class FoldedModel:
    """Answers each question with the model that was trained without it."""

    models: Sequence[LocalModel]
    folds: Mapping[str, int]
    """By what is asked."""
    name: str

    @property
    def identity(self) -> str:
        """Of all the models."""
        return hashlib.sha256(" ".join(each.identity for each in self.models).encode()).hexdigest()[:16]

    def kinds(self) -> frozenset[Kind]:
        """What they can be asked."""
        return self.models[0].kinds()

    def close(self) -> None:
        """Let go of the memory."""
        for each in self.models:
            each.close()

    def replies(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Reply]]:
        """Fold by fold; one model is in memory at a time."""
        for fold, model in enumerate(self.models):
            yield from model.replies([each for each in questions if self.folds[asked_of(each)] == fold])
            model.close()


def fold(
    context: Context, job: TrainingJob, task: Task, count: int, seed: int
) -> tuple[FoldedModel, list[Example]]:
    """Train the models of all folds, going on where a run before was stopped.

    Args:
        job: the training whose data is dealt; each fold trains in a folder of its own below this one's
        count: folds, at least 3

    Returns:
        The models as one, and the examples with their fold as a slice.

    Raises:
        EvaluationError: there are fewer prompts than folds.
        TrainingError: a training failed.
        Stopped: the training was asked to stop.
    """
    dealt = deal(job.dataset, count, seed)
    models = []
    for at in range(count):
        version = FoldVersion(job.dataset.folder, job.dataset.manifest, dealt, at, count)
        own = replace(job, dataset=version, folder=job.folder / f"fold-{at + 1}-of-{count}")
        if not own.artifact.exists():
            context.run.say(f"Fold {at + 1} of {count} is trained.")
            train(own, context)
        artifact = Folder(own.artifact)
        models.append(LocalModel(Folder(own.artifact, job.base) if artifact.is_adapter else artifact, task))
    found, folds = [], {}
    for row in _real(job.dataset):
        number = dealt[_prompt(row)]
        for example in examples([row]):
            asked = Question("generate", example.messages, example.text, example.tokens)
            folds[asked_of(asked)] = number
            found.append(replace(example, slices={**example.slices, "fold": str(number + 1)}))
    return FoldedModel(models, folds, f"{count} folds of {job.dataset.reference}"), found


def deal(version: DatasetVersion, count: int, seed: int) -> dict[str, int]:
    """The fold of each prompt. Raises EvaluationError if there are fewer prompts than folds."""
    by_label: dict[str, list[str]] = {}
    for row in _real(version):
        prompts = by_label.setdefault(row.get("label") or "", [])
        prompts.append(_prompt(row))
    draw, dealt, turn = random.Random(seed), dict[str, int](), 0  # noqa: S311 - the same deal each time
    for label in sorted(by_label):
        prompts = sorted(set(by_label[label]) - dealt.keys())
        draw.shuffle(prompts)
        for prompt in prompts:
            dealt[prompt] = turn % count
            turn += 1
    if len(dealt) < count:
        raise EvaluationError(
            f"{len(dealt)} different prompts cannot be dealt into {count} folds.", "BadData"
        )
    return dealt


def asked_of(question: Question) -> str:
    """What is asked, whatever is wanted of it."""
    if question.messages:
        return repr(question.messages)
    return question.text or question.continuation or repr(question.tokens)


def _prompt(row: Record) -> str:
    content = row.get("messages")
    if row["format"] == "chat":
        content = (content or [])[:-1]
    text = repr((content, row.get("text"), row.get("tokens")))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _real(version: DatasetVersion) -> Iterator[Record]:
    parts: tuple[Part, ...] = ("train", "validation")
    for part in parts:
        for row in version.rows(part):
            if not row["augmented"]:
                yield row
