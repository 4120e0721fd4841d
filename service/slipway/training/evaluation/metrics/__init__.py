"""The metrics by name: what each needs to know of a row, and which a task gets if none are named."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from slipway.training.errors import EvaluationError
from slipway.training.evaluation.examples import Prediction, Task
from slipway.training.evaluation.measures import Better, Measure
from slipway.training.evaluation.metrics import entities, labels, likelihoods, texts

Need = Literal["answer", "scores", "likelihood", "rejected"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str
    measure: Callable[[Sequence[Prediction]], Measure]
    tasks: frozenset[Task]
    needs: Need = "answer"
    better: Better = "higher"

    @property
    def meaning(self) -> str:
        """What it is, in a sentence or two."""
        return " ".join((self.measure.__doc__ or "").split())


_WRITTEN: frozenset[Task] = frozenset({"generate"})
_LABELLED: frozenset[Task] = frozenset({"generate", "classify"})
_TAGGED: frozenset[Task] = frozenset({"tag"})
_LIKELY: frozenset[Task] = frozenset({"generate", "text"})

METRICS: dict[str, Metric] = {
    each.name: each
    for each in (
        Metric("exact_match", texts.exact_match, _WRITTEN),
        Metric("token_f1", texts.token_f1, _WRITTEN),
        Metric("bleu", texts.bleu, _WRITTEN),
        Metric("chrf", texts.chrf, _WRITTEN),
        Metric("rouge1", texts.rouge1, _WRITTEN),
        Metric("rouge2", texts.rouge2, _WRITTEN),
        Metric("rougeL", texts.rouge_l, _WRITTEN),
        Metric("accuracy", labels.accuracy, _LABELLED),
        Metric("precision_macro", labels.precision_macro, _LABELLED),
        Metric("recall_macro", labels.recall_macro, _LABELLED),
        Metric("f1_macro", labels.f1_macro, _LABELLED),
        Metric("f1_weighted", labels.f1_weighted, _LABELLED),
        Metric("precision_micro", labels.precision_micro, _LABELLED),
        Metric("recall_micro", labels.recall_micro, _LABELLED),
        Metric("f1_micro", labels.f1_micro, _LABELLED),
        Metric("auc", labels.auc, _LABELLED, "scores"),
        Metric("ece", labels.ece, _LABELLED, "scores", "lower"),
        Metric("brier", labels.brier, _LABELLED, "scores", "lower"),
        Metric("entity_precision", entities.entity_precision, _TAGGED),
        Metric("entity_recall", entities.entity_recall, _TAGGED),
        Metric("entity_f1", entities.entity_f1, _TAGGED),
        Metric("tag_accuracy", entities.tag_accuracy, _TAGGED),
        Metric("perplexity", likelihoods.perplexity, _LIKELY, "likelihood", "lower"),
        Metric("bits_per_byte", likelihoods.bits_per_byte, _LIKELY, "likelihood", "lower"),
        Metric("preference_accuracy", likelihoods.preference_accuracy, _WRITTEN, "rejected"),
    )
}

_USUAL: dict[Task, tuple[str, ...]] = {
    "generate": ("exact_match", "token_f1", "chrf", "rougeL", "perplexity", "bits_per_byte"),
    "classify": ("accuracy", "precision_macro", "recall_macro", "f1_macro", "auc", "ece"),
    "tag": ("entity_precision", "entity_recall", "entity_f1", "tag_accuracy"),
    "text": ("perplexity", "bits_per_byte"),
}


def chosen(names: Sequence[str], task: Task, preferences: bool = False) -> list[Metric]:
    """The metrics that are asked for, or those that are usual for the task.

    Raises:
        EvaluationError: a name is not known, or says nothing about the task.
    """
    if not names:
        usual = _USUAL[task] + (("preference_accuracy",) if preferences else ())
        return [METRICS[name] for name in usual]
    found = []
    for name in dict.fromkeys(names):
        metric = METRICS.get(name)
        if metric is None:
            near = get_close_matches(name, METRICS, 1)
            mend = f"did you mean {near[0]}?" if near else f"there are {', '.join(METRICS)}."
            raise EvaluationError(f"There is no metric {name}; {mend}", "UnknownMetric")
        if task not in metric.tasks:
            fitting = ", ".join(each.name for each in METRICS.values() if task in each.tasks)
            raise EvaluationError(
                f"{name} says nothing about the task {task}; what does is {fitting}.", "UnknownMetric"
            )
        found.append(metric)
    return found
