"""Groups of a test's examples, and how far apart a model treats them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slipway.training.evaluation.examples import Example, Prediction
from slipway.training.evaluation.measures import Array
from slipway.training.evaluation.metrics.labels import labels_of
from slipway.training.evaluation.metrics.texts import plain

SMALL = 30
"""Below so many examples a slice is marked as small: its figures say little."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Examples with the same value of a field."""

    field: str
    value: str
    members: Array
    """Whether each example belongs to it [rows]."""

    @property
    def count(self) -> int:
        """Examples."""
        return int(self.members.sum())

    @property
    def small(self) -> bool:
        """Whether it is too small to say much."""
        return self.count < SMALL


def slices(examples: Sequence[Example], fields: Sequence[str]) -> list[Slice]:
    """The slices of each field, the largest first; an example without the field is in none of it."""
    found = []
    for field in fields:
        values = np.array([each.slices.get(field, "") for each in examples])
        own = [Slice(field, str(value), values == value) for value in np.unique(values) if value]
        found += sorted(own, key=lambda each: (-each.count, each.value))
    return found


def gaps(predictions: Sequence[Prediction], parts: Sequence[Slice]) -> dict[str, float]:
    """How far apart the groups of one field are, the largest difference over all labels.

    demographic_parity: of the shares that are given a label; equal_opportunity: of the shares of those who
    have the label that are given it (Hardt et al. 2016). Groups that are small are left out.
    """
    labels = labels_of(predictions)
    got = np.array([plain(each.answer.text) for each in predictions])
    wanted = np.array([plain(each.example.reference) for each in predictions])
    parity, opportunity = 0.0, 0.0
    groups = [part.members for part in parts if not part.small]
    for label in labels:
        parity = max(parity, _spread([(got[group] == label).mean() for group in groups]))
        having = [group & (wanted == label) for group in groups]
        opportunity = max(
            opportunity, _spread([(got[each] == label).mean() for each in having if each.any()])
        )
    return {"demographic_parity": parity, "equal_opportunity": opportunity}


def _spread(rates: Sequence[float]) -> float:
    return float(max(rates) - min(rates)) if len(rates) > 1 else 0.0
