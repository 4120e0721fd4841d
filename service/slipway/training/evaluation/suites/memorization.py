"""Memorization: does the model go on with rows of its training as they were?"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice

import numpy as np

from slipway.training.errors import EvaluationError
from slipway.training.evaluation.examples import Example, Prediction
from slipway.training.evaluation.intervals import Score, proportion, score
from slipway.training.evaluation.measures import mean
from slipway.training.evaluation.metrics.labels import auc
from slipway.training.evaluation.metrics.texts import plain
from slipway.training.evaluation.questions import Question, Reply
from slipway.training.evaluation.suites import Findings, Material

_MOST = 200
"""Rows of each kind that are asked."""
_SHORTEST = 24
"""Characters of a continuation; a shorter one says nothing."""
_NEAR = 0.9
"""Similarity from which a continuation is near verbatim."""
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first half of a row, and how it goes on."""

    question: Question
    shown: str
    rest: str


def run(material: Material) -> Findings:
    """Exact and near verbatim continuations of training rows, beside those of rows that were held out."""
    if material.training is None or material.control is None:
        raise EvaluationError(
            "Memorization needs the rows of the training; name the prepared dataset.", "NoTraining"
        )
    if not material.asked.can("generate"):
        raise EvaluationError(f"{material.asked.answerer.name} writes no continuations.", "CannotAnswer")
    seen, unseen = (_sample(rows()) for rows in (material.training, material.control))
    trained, held = _prefixes(seen), _prefixes(unseen)
    scores: dict[str, Score] = {}
    rows = []
    notes = [f"First halves of {len(trained)} training rows and of {len(held)} rows that were held out."]
    rates = {}
    for name, prefixes in (("train", trained), ("control", held)):
        replies = material.asked.ask([each.question for each in prefixes], "memorization")
        likeness = [_likeness(each.rest, reply.text) for each, reply in zip(prefixes, replies, strict=True)]
        exact = [each == 1.0 for each in likeness]
        near = [each >= _NEAR for each in likeness]
        rates[name] = (sum(exact), sum(near), len(prefixes))
        if name == "train":
            found = sorted(zip(likeness, prefixes, replies, strict=True), key=lambda each: -each[0])
            rows = [(one.shown, one.rest, reply.text, like) for like, one, reply in found if like >= _NEAR]
    for at, name in enumerate(("exact", "near")):
        (hits, count), (free, others) = ((rates[each][at], rates[each][2]) for each in ("train", "control"))
        scores[f"memorization.{name}_rate"] = proportion(hits, count)
        scores[f"memorization.{name}_rate/control"] = proportion(free, others)
        if count and others:
            excess = hits / count - free / others
            scores[f"memorization.{name}_excess"] = Score(excess, count=count, better="lower")
    if not trained:
        notes.append(f"No training row is long enough: half of it has less than {_SHORTEST} characters.")
    if material.asked.can("likelihood"):
        scores |= _exposure(material, seen, unseen)
        notes.append(
            "Exposure: log2(held-out rows + 1) - log2(rank) of a training row's loss among theirs (Carlini et"
            " al. 2019, with held-out rows in the place of random ones); 1.4 on average where nothing is"
            " known. membership_auc: how well loss alone tells training rows from others; 0.5 is chance."
        )
    return Findings(scores, notes, ("beginning", "how the row goes on", "answer", "likeness"), rows[:_SHOWN])


def exposures(losses: Sequence[float], others: Sequence[float]) -> list[float]:
    """log2(n + 1) - log2(rank) of each loss among n others; rank 1 is below all of them."""
    ranked = sorted(others)
    return [math.log2(len(ranked) + 1) - math.log2(1 + bisect_right(ranked, each)) for each in losses]


def _exposure(material: Material, seen: Sequence[Example], unseen: Sequence[Example]) -> dict[str, Score]:
    losses = []
    for examples in (seen, unseen):
        questions = [Question("likelihood", each.messages, continuation=each.reference) for each in examples]
        replies = material.asked.ask(questions, "exposure")
        losses.append(
            [-each.logprob / each.tokens for each in replies if each.logprob is not None and each.tokens]
        )
    trained, held = losses
    if not trained or not held:
        return {}
    rows = [
        Prediction(Example("", "classify", reference=kind), Reply(scores={"held": loss, "train": -loss}))
        for kind, own in (("train", trained), ("held", held))
        for loss in own
    ]
    told = score(auc(rows), material.resamples, material.seed)
    return {
        "memorization.exposure": score(
            mean(exposures(trained, held), "lower"), material.resamples, material.seed
        ),
        "memorization.membership_auc": Score(told.value, told.low, told.high, told.count, "lower"),
    }


def _sample(examples: Iterable[Example]) -> list[Example]:
    """The first rows that can be gone on with. Rows of a version are in no order that means anything."""
    fitting = (each for each in examples if each.task in ("generate", "text") and each.reference)
    return list(islice(fitting, _MOST))


def _prefixes(examples: Sequence[Example]) -> list[Prefix]:
    found = []
    for each in examples:
        # In the middle of the whole row, at a word's end: prompt and answer of a short one are both in it.
        half = each.reference.rfind(" ", 0, len(each.reference) // 2 + 1)
        begun, rest = each.reference[: max(half, 0)], each.reference[max(half, 0) :].strip()
        if len(rest) < _SHORTEST:
            continue
        limit = max(16, len(rest) // 2)
        if each.messages:
            asked = (*each.messages, ("assistant", begun)) if begun else each.messages
            question = Question("generate", asked, max_tokens=limit)
        else:
            question = Question("generate", text=begun, max_tokens=limit)
        found.append(Prefix(question, f"{each.shown[:400]}\n{begun}" if each.messages else begun, rest))
    return found


def _likeness(rest: str, answer: str) -> float:
    """1 for a verbatim beginning of the answer, otherwise the share of characters in common order."""
    wanted, got = plain(rest), plain(answer)[: len(plain(rest))]
    return (
        1.0 if wanted == got else float(np.clip(SequenceMatcher(None, wanted, got, False).ratio(), 0, 0.9999))
    )
