"""Predictions for tests."""

import random
from collections.abc import Sequence

from slipway.training.evaluation.examples import Example, Prediction
from slipway.training.evaluation.questions import Reply


def written(pairs: Sequence[tuple[str, str]]) -> list[Prediction]:
    """Predictions of (answer, reference)."""
    return [
        Prediction(Example(str(at), "generate", reference=reference), Reply(answer))
        for at, (answer, reference) in enumerate(pairs)
    ]


def scored(rows: int, labels: Sequence[str], seed: int = 0) -> list[Prediction]:
    """Predictions of labels with probabilities, rather better than chance; some labels rare."""
    draw = random.Random(seed)
    found = []
    for at in range(rows):
        truth = draw.choices(labels, range(1, len(labels) + 1))[0]
        raw = {label: round(draw.random() + (label == truth) * 0.5, 1) + 0.01 for label in labels}
        scores = {label: value / sum(raw.values()) for label, value in raw.items()}
        best = max(scores, key=lambda label: scores[label])
        found.append(Prediction(Example(str(at), "classify", reference=truth), Reply(best, scores=scores)))
    return found


def tagged(pairs: Sequence[tuple[Sequence[str], Sequence[str]]]) -> list[Prediction]:
    """Predictions of (found tags, right tags)."""
    return [
        Prediction(Example(str(at), "tag", tags=tuple(right)), Reply(tags=tuple(found)))
        for at, (found, right) in enumerate(pairs)
    ]


def likely(rows: Sequence[tuple[str, float, int]]) -> list[Prediction]:
    """Predictions of (reference, log probability, tokens)."""
    return [
        Prediction(
            Example(str(at), "text", text=text, reference=text),
            likelihood=Reply(logprob=logprob, tokens=tokens),
        )
        for at, (text, logprob, tokens) in enumerate(rows)
    ]
