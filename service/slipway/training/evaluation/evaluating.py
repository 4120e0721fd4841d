"""Evaluates a model: the metrics with their intervals, slices, suites, rivals, a judge, and the gates."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from slipway.objects.finetunes import EvaluationSpec
from slipway.training.errors import EvaluationError
from slipway.training.evaluation import gates, intervals, judges
from slipway.training.evaluation.asking import Asked
from slipway.training.evaluation.examples import Example, Prediction, Task
from slipway.training.evaluation.gates import Rival
from slipway.training.evaluation.metrics import METRICS, Metric, chosen
from slipway.training.evaluation.metrics.labels import labels_of, per_label
from slipway.training.evaluation.predicting import MOST_LABELS, predict, usable
from slipway.training.evaluation.results import Evaluation, SliceResult
from slipway.training.evaluation.slices import slices
from slipway.training.evaluation.suites import Material
from slipway.training.evaluation.suites import catalog as suites

_SUPPORT = 2
"""Examples of a label on average, from which a test of written answers counts as one of labels."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for."""

    spec: EvaluationSpec
    task: Task
    data: str
    """Where the examples are from, for people."""
    tasks: Path | None = None
    """Folder of lm-evaluation-harness tasks."""
    classifier: Path | None = None
    """A model that tells toxic texts."""
    resamples: int = intervals.RESAMPLES
    seed: int = 0

    def metrics(self, preferences: bool) -> list[Metric]:
        """The metrics of the test part: those that are named, and those that gates are about."""
        gated = [each.metric for each in self.spec.gates if each.metric in METRICS]
        named = list(self.spec.metrics)
        base = chosen(named, self.task, preferences)
        more = chosen(gated, self.task) if gated else []
        return base + [each for each in more if each not in base]

    def suites(self) -> list[str]:
        """The suites that are named, and those that gates are about."""
        gated = [suite for each in self.spec.gates if (suite := suites.suite_of(each.metric))]
        return list(dict.fromkeys([*self.spec.suites, *gated]))


@dataclass(frozen=True, slots=True)
class Sides:
    """The models of an evaluation, and the rows beside the test."""

    candidate: Asked
    rivals: Mapping[Rival, Asked]
    judge: Asked | None
    training: Sequence[Example] | None = None
    """Rows that the candidate was trained on; a few are enough."""


def evaluate(plan: Plan, sides: Sides, examples: Sequence[Example]) -> Evaluation:
    """Evaluate a model.

    Args:
        examples: of the test, all of one task; none where suites alone are asked for

    Raises:
        EvaluationError: a name that there is not, or a model that cannot be asked.
        Stopped: what was answered is kept.
    """
    began = time.monotonic()
    names = plan.suites()
    suites.check(names)
    _check_gates(plan)
    found = Evaluation(sides.candidate.answerer.name, plan.task, plan.data)
    labels = _labels(examples)
    with closing(sides.candidate.answerer):
        metrics = _measure(plan, sides.candidate, examples, labels, found) if examples else ()
        _suites(plan, sides, names, examples, labels, found)
    theirs: Sequence[Prediction] = ()
    for rival, asked in sides.rivals.items():
        with closing(asked.answerer):
            others = _compare(plan, rival, asked, metrics, labels, found) if examples else ()
        theirs = theirs or others
    if sides.judge is not None:
        with closing(sides.judge.answerer):
            _judge(plan, sides.judge, theirs, found)
    found.gates = gates.decided(plan.spec.gates, found.scores, found.comparisons, list(sides.rivals))
    found.seconds = time.monotonic() - began
    return found


def _suites(
    plan: Plan,
    sides: Sides,
    names: Sequence[str],
    examples: Sequence[Example],
    labels: Sequence[str],
    found: Evaluation,
) -> None:
    material = Material(
        sides.candidate,
        plan.task,
        found.predictions,
        labels,
        plan.spec.max_tokens,
        plan.spec.slices,
        (lambda: sides.training or ()) if sides.training is not None else None,
        (lambda: examples) if examples else None,
        plan.tasks,
        plan.classifier,
        plan.resamples,
        plan.seed,
    )
    for name in names:
        result = suites.run(name, material)
        found.suites[name] = result
        found.scores.update(result.scores)


def _check_gates(plan: Plan) -> None:
    """Before anything is asked: a gate on what is never measured would fail at the end."""
    for gate in plan.spec.gates:
        known = gate.metric in METRICS or suites.suite_of(gate.metric) or gate.metric.startswith("judge.")
        if not known:
            raise EvaluationError(
                f"A gate names {gate.metric}, which is no metric; there are {', '.join(METRICS)}, and"
                " those of the suites.",
                "UnknownMetric",
            )
        if gate.over and gate.metric not in METRICS:
            raise EvaluationError(
                f"A gate compares {gate.metric} with another model; that can be done for metrics of the test"
                " part alone, so give it min or max.",
                "BadGate",
            )


def _measure(
    plan: Plan, asked: Asked, examples: Sequence[Example], labels: Sequence[str], found: Evaluation
) -> tuple[Metric, ...]:
    """The candidate over the test part: metrics, labels, slices. Returns the metrics that could be told."""
    preferences = any(each.rejected for each in examples)
    there = usable(asked, plan.metrics(preferences), plan.task, labels, bool(plan.spec.metrics))
    found.notes += there.notes
    found.predictions = predict(asked, examples, there.metrics, labels, plan.spec.max_tokens)
    unanswered = [each.answer.error for each in found.predictions if each.answer.error]
    if unanswered:
        found.notes.append(
            f"{len(unanswered)} of {len(examples)} examples have no answer and count as wrong; the first"
            f" because {unanswered[0]}."
        )
    measures = {metric.name: metric.measure(found.predictions) for metric in there.metrics}
    for name, measure in measures.items():
        found.scores[name] = intervals.score(measure, plan.resamples, plan.seed)
    if 1 < len(labels) <= MOST_LABELS and len(examples) >= _SUPPORT * len(labels):
        found.per_label = {
            label: {name: intervals.score(each, plan.resamples, plan.seed) for name, each in own.items()}
            for label, own in per_label(found.predictions).items()
        }
    for part in slices(examples, plan.spec.slices):
        scores = {
            name: intervals.score(measure, plan.resamples, plan.seed, members=part.members)
            for name, measure in measures.items()
        }
        found.slices.append(SliceResult(part.field, part.value, part.count, part.small, scores))
    missing = {field for field in plan.spec.slices if not any(each.slices.get(field) for each in examples)}
    found.notes += [f"No example has the field {field}, so it makes no slices." for field in sorted(missing)]
    return there.metrics


def _compare(
    plan: Plan,
    rival: Rival,
    asked: Asked,
    metrics: Sequence[Metric],
    labels: Sequence[str],
    found: Evaluation,
) -> list[Prediction]:
    """A rival over the same examples. Returns its predictions."""
    found.rivals[rival] = asked.answerer.name
    fitting = usable(asked, metrics, plan.task, labels, named=False)
    found.notes += [f"{asked.answerer.name}: {note}" for note in fitting.notes]
    examples = [each.example for each in found.predictions]
    others = predict(asked, examples, fitting.metrics, labels, plan.spec.max_tokens)
    found.comparisons[rival] = {
        metric.name: intervals.compare(
            metric.measure(found.predictions), metric.measure(others), plan.resamples, plan.seed
        )
        for metric in fitting.metrics
    }
    return others


def _judge(plan: Plan, judge: Asked, theirs: Sequence[Prediction], found: Evaluation) -> None:
    """What the judge says of our answers beside the first rival's, or beside the references."""
    if plan.task != "generate" or plan.spec.judge is None:
        raise EvaluationError("A judge reads written answers; the task is to label.", "BadJudge")
    others = [each.answer.text for each in theirs] or [each.example.reference for each in found.predictions]
    rows = [
        (each.example.shown, each.answer.text, other)
        for each, other in zip(found.predictions, others, strict=True)
    ]
    judged = judges.judge(judge, plan.spec.judge.criteria, rows, plan.resamples, plan.seed)
    found.scores["judge.win_rate"] = judged.wins
    found.scores["judge.agreement"] = judged.agreement
    beside = next(iter(found.rivals.values())) if theirs else "the references"
    found.notes.append(
        f"{judge.answerer.name} judged the answers beside those of {beside}, each pair in both orders;"
        f" {judged.unread} of {2 * len(rows)} verdicts could not be read."
    )


def _labels(examples: Sequence[Example]) -> list[str]:
    """What a label or a short written answer may be."""
    if not examples or examples[0].task not in ("generate", "classify"):
        return []
    return labels_of([Prediction(each) for each in examples])


def limited(examples: Sequence[Example], most: int | None) -> list[Example]:
    """At most so many, spread over all of them."""
    if most is None or most >= len(examples):
        return list(examples)
    return [examples[at * len(examples) // most] for at in range(most)]
