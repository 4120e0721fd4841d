"""Who gets which record: parts in the asked shares for each class, and no group in two of them.

A record's place follows from the seed and from its content, not from where it was read.
"""

from dataclasses import dataclass
from typing import Any

from slipway.training.data.duplicates import joined

TRAIN, VALIDATION, TEST = 0, 1, 2
_SHARED = 0.05
_FEW = 20
"""A question that more than these and that share of all records ask is an instruction, not a question."""


@dataclass(frozen=True, slots=True)
class Shares:
    """What is kept back."""

    validation: float
    test: float
    seed: int


def with_equal(groups: Any, keys: Any, *, most: float | None = None) -> Any:
    """Groups of which those with an equal key are one; the key 0 is none.

    Args:
        most: a key that more records have is none.
    """
    import numpy as np

    order = np.argsort(keys, kind="stable")
    values = keys[order]
    equal = (values[1:] == values[:-1]) & (values[1:] != 0)
    if most is not None:
        _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
        equal &= counts[which][1:] <= most
    at = np.flatnonzero(equal)
    return joined(groups, order[at], order[at + 1])


def most_that_ask(rows: int) -> float:
    """Records that may ask the same question before it counts as an instruction."""
    return max(_FEW, _SHARED * rows)


def assigned(groups: Any, identities: Any, strata: Any, shares: Shares) -> Any:
    """The part of each record: TRAIN, VALIDATION or TEST.

    Args:
        groups: number of a record's group.
        identities: 64 bits of a record's id.
        strata: key of the value whose shares each part keeps; the group's is that of its lowest record.
        shares: of all records; where there are three groups or more each share above 0 gets one at least.
    """
    import numpy as np

    if not len(groups):
        return np.zeros(0, dtype=np.uint8)
    by_group = np.lexsort((identities, groups))
    begins = np.flatnonzero(np.diff(groups[by_group], prepend=-1))
    sizes = np.diff(begins, append=len(groups))
    lowest = by_group[begins]
    draw = _mix(identities[lowest] ^ _mix(np.array([shares.seed + 1], dtype=np.uint64)))
    stratum = strata[lowest]
    parts = np.zeros(len(begins), dtype=np.uint8)
    values, which = np.unique(stratum, return_inverse=True)
    totals = np.bincount(which, weights=sizes, minlength=len(values)).astype(np.int64)
    few = len(begins) < 3
    left = {
        part: _quotas(totals, values, share, shares.seed, few=few)
        for part, share in ((TEST, shares.test), (VALIDATION, shares.validation))
    }
    for at in np.lexsort((draw, which)).tolist():
        size, of = int(sizes[at]), int(which[at])
        for part, quotas in left.items():
            if size <= quotas[of]:
                quotas[of] -= size
                parts[at] = part
                break
    result = np.empty(len(groups), dtype=np.uint8)
    result[by_group] = np.repeat(parts, sizes)
    return result


def _quotas(totals: Any, values: Any, share: float, seed: int, *, few: bool) -> list[int]:
    """How many records of each stratum a part gets: the largest remainders are rounded up."""
    import numpy as np

    wanted = totals * share
    quotas = np.floor(wanted).astype(np.int64)
    total = round(float(totals.sum()) * share)
    if share > 0 and not few:
        total = max(1, total)
    ties = _mix(values ^ np.uint64(seed))
    order = np.lexsort((ties, -(wanted - quotas)))
    for at in order[: max(0, total - int(quotas.sum()))]:
        quotas[at] += 1
    return [int(quota) for quota in quotas]


def _mix(values: Any) -> Any:
    """The end of SplitMix64: each bit of the input moves half of the output's."""
    import numpy as np

    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def drawn(identities: Any, seed: int) -> Any:
    """A number from 0 to 1 for each record."""
    import numpy as np

    return _mix(identities ^ np.uint64(seed + 1)) / float(2**64)
