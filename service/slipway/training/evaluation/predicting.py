"""Asks a model all that the metrics need to know of the test's examples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from slipway.training.errors import EvaluationError
from slipway.training.evaluation.asking import Asked
from slipway.training.evaluation.examples import Example, Prediction, Task
from slipway.training.evaluation.metrics import Metric, Need
from slipway.training.evaluation.questions import Kind, Question, Reply

MOST_LABELS = 32
"""Different answers up to which a test of written answers counts as one of labels."""
_LABEL_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Usable:
    """The metrics that a model can be measured by."""

    metrics: tuple[Metric, ...]
    notes: tuple[str, ...]
    """Why others cannot be told; sentences."""


def usable(asked: Asked, metrics: Sequence[Metric], task: Task, labels: Sequence[str], named: bool) -> Usable:
    """What the model can be measured by.

    Args:
        named: whether somebody asked for these metrics, so that leaving one out is an error

    Raises:
        EvaluationError: a metric that was named cannot be told.
    """
    there: list[Metric] = []
    notes = []
    for metric in metrics:
        fault = _fault(asked, metric.needs, task, labels)
        if fault and named:
            raise EvaluationError(f"{metric.name} cannot be told: {fault}.", "CannotAnswer")
        if fault:
            notes.append(f"{metric.name} is left out: {fault}.")
        else:
            there.append(metric)
    return Usable(tuple(there), tuple(notes))


def predict(
    asked: Asked,
    examples: Sequence[Example],
    metrics: Sequence[Metric],
    labels: Sequence[str],
    max_tokens: int,
) -> list[Prediction]:
    """Ask what the metrics need.

    Args:
        examples: all of one task
        labels: that a written answer or a label may be
        max_tokens: of a written answer

    Raises:
        EvaluationError: the model cannot be asked so, or fails.
        Stopped: what came until then is kept.
    """
    task, needs = examples[0].task, {metric.needs for metric in metrics}
    found = [Prediction(each) for each in examples]
    if task != "text":
        questions = [_question(asked, each, labels, max_tokens) for each in examples]
        answers = asked.ask(questions, "answers")
        found = [replace(each, answer=answer) for each, answer in zip(found, answers, strict=True)]
    if "scores" in needs and not (task == "classify" and asked.can("classify")):
        found = _scored(asked, found, labels)
    if needs & {"likelihood", "rejected"}:
        likely = asked.ask([_likely(each, each.reference) for each in examples], "probabilities")
        found = [replace(each, likelihood=reply) for each, reply in zip(found, likely, strict=True)]
    if "rejected" in needs:
        worse = asked.ask([_likely(each, each.rejected) for each in examples], "rejected answers")
        found = [replace(each, rejected=reply) for each, reply in zip(found, worse, strict=True)]
    return found


def instruction(text: str, labels: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """How a model that writes is asked for a label."""
    listed = "\n".join(f"- {label}" for label in labels)
    return (
        (
            "user",
            f"Which label fits the text? Answer with one of these labels and nothing else.\n{listed}\n\n"
            f"Text: {text}",
        ),
    )


def _question(asked: Asked, example: Example, labels: Sequence[str], max_tokens: int) -> Question:
    match example.task:
        case "tag":
            return Question("tag", tokens=example.tokens)
        case "classify" if asked.can("classify"):
            return Question("classify", text=example.text)
        case "classify":
            return Question("generate", instruction(example.text, labels), max_tokens=_LABEL_TOKENS)
        case _:
            return Question("generate", example.messages, max_tokens=max_tokens)


def _likely(example: Example, continuation: str) -> Question:
    return Question("likelihood", example.messages, continuation=continuation)


def _scored(asked: Asked, found: Sequence[Prediction], labels: Sequence[str]) -> list[Prediction]:
    """The labels' probabilities by how likely each is as the answer, taken together as one."""
    prompts = [each.example.messages or instruction(each.example.text, labels) for each in found]
    questions = [Question("likelihood", prompt, continuation=label) for prompt in prompts for label in labels]
    replies = asked.ask(questions, "the labels' probabilities")
    rows = []
    for at, prediction in enumerate(found):
        own = replies[at * len(labels) : (at + 1) * len(labels)]
        scores = _softmax(labels, own)
        rows.append(replace(prediction, answer=replace(prediction.answer, scores=scores)))
    return rows


def _softmax(labels: Sequence[str], replies: Sequence[Reply]) -> dict[str, float]:
    logs = [-math.inf if each.logprob is None else each.logprob for each in replies]
    top = max(logs)
    if math.isinf(top):
        return dict.fromkeys(labels, 1 / len(labels))
    parts = [math.exp(each - top) for each in logs]
    return {label: part / sum(parts) for label, part in zip(labels, parts, strict=True)}


def _fault(asked: Asked, need: Need, task: Task, labels: Sequence[str]) -> str:
    """Why a need cannot be met; empty if it can."""
    name = asked.answerer.name
    if need == "answer":
        wanted: tuple[Kind, ...] = ("tag",) if task == "tag" else ("generate",)
        if task == "classify":
            wanted = ("classify", "generate")
        return "" if any(map(asked.can, wanted)) else f"{name} does not {wanted[0]}"
    if need == "scores":
        if len(labels) < 2 or len(labels) > MOST_LABELS:
            return f"the test has {len(labels)} different answers, and 2 to {MOST_LABELS} are labels"
        if task == "classify" and asked.can("classify"):
            return "" if getattr(asked.answerer, "all_scores", True) else f"{name} tells the top label alone"
    return "" if asked.can("likelihood") else f"{name} does not tell probabilities of texts"
