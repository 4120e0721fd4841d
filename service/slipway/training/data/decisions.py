"""What becomes of each record: in which part it is and how often, or why it is in none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slipway.training.data import duplicates, splits

TRAIN, VALIDATION, TEST = splits.TRAIN, splits.VALIDATION, splits.TEST
EXACT, NEAR, WEIGHT, LEAK = 3, 4, 5, 6
"""Codes of what is in no part: it is there already, or nearly; its source has a weight below 1; its source
goes to one part, and what is joined with it to another."""
OPEN = 255
"""Of a source whose records the split shares out."""
_PRIORITY = {OPEN: 2, TRAIN: 3, VALIDATION: 1, TEST: 0}
"""Which of equal records stays: what tests a model is never taken for what trains it."""
THRESHOLD = 0.8
"""Similarity of near duplicates, where no step says another."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What decides."""

    duplicates: bool
    """Leave out exact duplicates."""
    near: bool
    """Leave out near ones as well."""
    threshold: float
    shares: splits.Shares
    weights: tuple[float, ...]
    """Of the sources, in the order of their numbers."""
    fixed: tuple[int, ...]
    """The part that a source goes to as a whole, or OPEN."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """One entry for each record."""

    fate: Any
    """Code of the part, or of the reason why it is in none."""
    copies: Any
    """How often it is taken."""
    kept: Any
    """Position of the record that is there in its place."""
    similar_groups: int
    """Groups of two or more records that nearly say the same."""
    largest_group: int
    """Records in the largest group that one part must hold as a whole."""


def decide(pieces: Sequence[duplicates.Piece], keys: Any, sources: Any, wanted: Wanted) -> Decisions:
    """Decide for all records at once.

    Args:
        keys: array of `chunkwork.KEYS`.
        sources: number of each record's source.
    """
    import numpy as np

    high, rows = keys["high"], len(keys)
    fixed = np.array(wanted.fixed, dtype=np.uint8)[sources]
    priority = np.array([_PRIORITY[part] for part in wanted.fixed])[sources]
    first = duplicates.first_of_each(keys, priority * len(wanted.fixed) + sources)
    unique = first == np.arange(rows)
    groups = duplicates.near(pieces, keys, keys["label"], unique, wanted.threshold)
    fate, kept = np.zeros(rows, dtype=np.uint8), first.copy()
    if wanted.duplicates:
        fate[~unique] = EXACT
    if wanted.duplicates and wanted.near:
        lowest = _lowest(groups.same, priority, keys)
        fate[unique & (lowest != np.arange(rows))] = NEAR
        kept[unique] = lowest[unique]
        kept = kept[kept]
    weights = np.array(wanted.weights)[sources]
    draw = splits.drawn(high, wanted.shares.seed)
    fate[(fate == TRAIN) & (draw >= weights)] = WEIGHT
    alive = np.flatnonzero(fate == TRAIN)
    joint = splits.with_equal(groups.similar[first], keys["group"])
    joint = splits.with_equal(joint, keys["input"], most=splits.most_that_ask(len(alive)))
    fate[alive] = _parts(joint[alive], priority[alive], keys[alive], wanted)
    fate[(fate < EXACT) & (fixed != OPEN) & (fate != fixed)] = LEAK
    copies = np.ones(rows, dtype=np.int64)
    repeated = (fate == TRAIN) & (weights > 1)
    copies[repeated] = np.floor(weights[repeated]) + (draw[repeated] < weights[repeated] % 1)
    _, sizes = np.unique(groups.similar[unique], return_counts=True)
    _, together = np.unique(joint[alive], return_counts=True)
    return Decisions(fate, copies, kept, int((sizes > 1).sum()), int(together.max()) if len(together) else 0)


def _parts(groups: Any, priority: Any, keys: Any, wanted: Wanted) -> Any:
    """The part of each record: that of a source in its group which has one, or as the split shares out."""
    import numpy as np

    parts = np.zeros(len(groups), dtype=np.uint8)
    if not len(groups):
        return parts
    best = np.full(int(groups.max()) + 1, len(_PRIORITY))
    np.minimum.at(best, groups, priority)
    for part in (TRAIN, VALIDATION, TEST):
        parts[best[groups] == _PRIORITY[part]] = part
    shared = np.flatnonzero(best[groups] == _PRIORITY[OPEN])
    parts[shared] = splits.assigned(
        groups[shared], keys["high"][shared], keys["stratum"][shared], wanted.shares
    )
    return parts


def _lowest(groups: Any, priority: Any, keys: Any) -> Any:
    """For each record the position of the one in its group that stays: by priority, then the lowest id."""
    import numpy as np

    order = np.lexsort((keys["low"], keys["high"], priority, groups))
    begins = np.ones(len(groups), dtype=bool)
    begins[1:] = groups[order][1:] != groups[order][:-1]
    lowest = np.empty(len(groups), dtype=np.int64)
    lowest[order] = order[np.flatnonzero(begins)][np.cumsum(begins) - 1]
    return lowest
