"""Asks a model and keeps its replies as they come, so that a kill pays for none of them twice."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from slipway.training.errors import EvaluationError
from slipway.training.evaluation.questions import Kind, Question, Reply


class Answerer(Protocol):
    """A model that can be asked."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def identity(self) -> str:
        """Tells this model's replies from any other's; the same again as long as the model is the same."""

    def kinds(self) -> frozenset[Kind]:
        """What it can be asked."""

    def close(self) -> None:
        """Let go of memory and connections; nothing is asked after that."""

    def replies(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Reply]]:
        """Its replies as they come, in any order.

        Raises:
            EvaluationError: it cannot be asked further.
        """


class Steps(Protocol):
    """Whom the work is told; a stage's Context is one."""

    def check(self) -> None:
        """Raises Stopped if the work is to stop."""

    def tell(self, message: str, step: int = 0, total: int | None = None) -> None:
        """Say how far the work is."""


@dataclass(slots=True)
class Kept:
    """Replies on disk: one JSON object a line, with the question's key."""

    path: Path
    known: dict[str, Reply] = field(default_factory=dict)

    @classmethod
    def at(cls, path: Path) -> "Kept":
        """What is kept there already; a line that a kill has torn is as if it were not there."""
        kept = cls(path)
        if path.exists():
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) != len(data):
                with path.open("r+b") as file:
                    file.truncate(len(whole))
            for line in whole.splitlines():
                document = json.loads(line)
                key = document.pop("question")
                kept.known[key] = Reply.of(document)
        return kept

    def add(self, question: Question, reply: Reply) -> None:
        """Keep one more."""
        line = json.dumps({"question": question.key, **reply.document()}) + "\n"
        with self.path.open("ab", buffering=0) as file:
            file.write(line.encode())
        self.known[question.key] = reply


@dataclass(frozen=True, slots=True)
class Asked:
    """A model with what it has replied so far."""

    answerer: Answerer
    kept: Kept
    steps: Steps

    @classmethod
    def of(cls, answerer: Answerer, folder: Path, steps: Steps) -> "Asked":
        """The model's replies are kept in a file of the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(answerer, Kept.at(folder / f"{answerer.identity}.jsonl"), steps)

    def can(self, kind: Kind) -> bool:
        """Whether the model can be asked so."""
        return kind in self.answerer.kinds()

    def ask(self, questions: Sequence[Question], what: str) -> list[Reply]:
        """The reply to each question, in their order.

        Args:
            questions: those whose replies are kept are not asked again, nor is one asked twice
            what: for people, such as "the test part"

        Raises:
            EvaluationError: the model cannot be asked so, or fails.
            Stopped: what came until then is kept.
        """
        for kind in {each.kind for each in questions} - self.answerer.kinds():
            raise EvaluationError(f"{self.answerer.name} cannot be asked to {_VERBS[kind]}.", "CannotAnswer")
        known = self.kept.known
        missing = list({each.key: each for each in questions if each.key not in known}.values())
        message = f"{self.answerer.name}: {what}"
        self.steps.check()
        if missing:
            self.steps.tell(message, 0, len(missing))
        for done, (question, reply) in enumerate(self.answerer.replies(missing), 1):
            self.kept.add(question, reply)
            self.steps.tell(message, done, len(missing))
            self.steps.check()
        return [known[each.key] for each in questions]


_VERBS: dict[Kind, str] = {
    "generate": "write an answer",
    "likelihood": "tell the probability of a text (the server offers no `prompt_logprobs`)",
    "classify": "label a text",
    "tag": "tag tokens",
}
