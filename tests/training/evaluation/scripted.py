"""A model whose replies a test decides."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway.training.evaluation.asking import Asked
from slipway.training.evaluation.questions import Kind, Question, Reply
from slipway.training.evaluation.suites import Material
from training.evaluation.progress import Steps


@dataclass
class Scripted:
    """Replies as functions of the question."""

    generate: Callable[[Question], str] | None = None
    likelihood: Callable[[Question], float] | None = None
    """Nats of each character."""
    classify: Callable[[Question], str] | None = None
    name: str = "scripted"
    identity: str = "scripted"
    asked: list[Question] = field(default_factory=list)

    def kinds(self) -> frozenset[Kind]:
        offered: dict[Kind, Any] = {
            "generate": self.generate,
            "likelihood": self.likelihood,
            "classify": self.classify,
        }
        return frozenset(kind for kind, reply in offered.items() if reply)

    def close(self) -> None:
        pass

    def replies(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Reply]]:
        for each in questions:
            self.asked.append(each)
            yield each, self._reply(each)

    def _reply(self, question: Question) -> Reply:
        if question.kind == "generate" and self.generate:
            return Reply(self.generate(question))
        if question.kind == "likelihood" and self.likelihood:
            tokens = max(1, len(question.continuation))
            return Reply(logprob=-self.likelihood(question) * tokens, tokens=tokens)
        if self.classify:
            label = self.classify(question)
            return Reply(label, scores={label: 0.9, "other": 0.1})
        raise AssertionError(question)


def material(model: Any, folder: Path, **options: Any) -> Material:
    """What a suite gets."""
    given: dict[str, Any] = {"task": "generate", "predictions": (), "resamples": 50} | options
    return Material(asked=Asked.of(model, folder, Steps()), **given)
