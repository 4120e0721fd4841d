"""How well tokens are tagged: by token, and by whole entities as conlleval and seqeval count them."""

from collections.abc import Iterator, Sequence

import numpy as np

from slipway.training.evaluation.examples import Prediction
from slipway.training.evaluation.measures import Array, Measure, divided, ratio, summed

Entity = tuple[str, int, int]


def entities(tags: Sequence[str]) -> set[Entity]:
    """The entities in a row of tags (`B-PER`, `I-PER`, `E-`, `S-`, `O`): type, first and last token.

    As conlleval and seqeval's default mode read them: an `I-` without its `B-`, or of another type than the
    tag before it, begins an entity all the same. A tag without a prefix is its own type.
    """
    return set(_entities(tags))


def entity_precision(predictions: Sequence[Prediction]) -> Measure:
    """Right entities among those that were found, over all rows."""
    return summed(_counts(predictions), lambda sums: divided(sums[:, 0], sums[:, 1]))


def entity_recall(predictions: Sequence[Prediction]) -> Measure:
    """Right entities among those that are there, over all rows."""
    return summed(_counts(predictions), lambda sums: divided(sums[:, 0], sums[:, 2]))


def entity_f1(predictions: Sequence[Prediction]) -> Measure:
    """F1 of whole entities over all rows (micro): type and both ends must be right."""
    return summed(_counts(predictions), lambda sums: divided(2 * sums[:, 0], sums[:, 1] + sums[:, 2]))


def tag_accuracy(predictions: Sequence[Prediction]) -> Measure:
    """Share of tokens with the right tag; a tag that is missing is wrong."""
    right = [sum(map(str.__eq__, each.answer.tags, each.example.tags)) for each in predictions]
    return ratio(right, [len(each.example.tags) for each in predictions])


def _counts(predictions: Sequence[Prediction]) -> Array:
    """[rows, 3]: entities that are right, found, there."""
    rows = []
    for each in predictions:
        found, there = entities(each.answer.tags), entities(each.example.tags)
        rows.append((len(found & there), len(found), len(there)))
    return np.array(rows, dtype=float)


def _entities(tags: Sequence[str]) -> Iterator[Entity]:
    kind, begin, last = "", 0, "O"
    for at, tag in enumerate([*tags, "O"]):
        prefix, own = _parts(tag)
        open_before = last != "O"
        apart = last in "ES" or prefix in "BSO" or own != kind
        if open_before and apart:
            yield kind, begin, at - 1
        if prefix != "O" and (apart or not open_before):
            begin = at
        kind, last = own, prefix


def _parts(tag: str) -> tuple[str, str]:
    """Prefix and type of a tag."""
    prefix, dash, kind = tag.partition("-")
    if tag == "O" or not tag:
        return "O", ""
    if prefix in ("B", "I", "E", "S"):
        return prefix, kind if dash else "_"
    return "I", tag
