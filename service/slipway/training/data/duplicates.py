"""Which of all records say the same, or nearly; worked out on small arrays, one band of signatures at a time.

What comes out depends on the set of records alone, not on their order: candidates are neighbours among equal
bands sorted by id, and groups are connected components.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.training.data.fingerprints import BANDS, ROWS


@dataclass(frozen=True, slots=True)
class Piece:
    """Signatures of some records in a file, band after band."""

    path: Path
    rows: int

    def band(self, number: int) -> Any:
        """An array of `rows` by `ROWS`."""
        import numpy as np

        size = self.rows * ROWS
        return np.fromfile(self.path, np.uint16, size, offset=number * size * 2).reshape(-1, ROWS)


@dataclass(frozen=True, slots=True)
class Groups:
    """For each record the number of its group."""

    similar: Any
    """Records that nearly say the same."""
    same: Any
    """The same, but only with equal labels: what is a duplicate."""


def first_of_each(ids: Any, order: Any) -> Any:
    """For each record the position of the one that stands for all with its id.

    Args:
        ids: structured array with `high` and `low`.
        order: of the records, which decides between equal ones; lowest first.
    """
    import numpy as np

    rank = np.lexsort((np.arange(len(ids)), order, ids["low"], ids["high"]))
    high, low = ids["high"][rank], ids["low"][rank]
    begins = np.ones(len(ids), dtype=bool)
    begins[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    first = np.empty(len(ids), dtype=np.int64)
    first[rank] = rank[np.flatnonzero(begins)][np.cumsum(begins) - 1]
    return first


def near(pieces: Sequence[Piece], ids: Any, labels: Any, among: Any, threshold: float) -> Groups:
    """Groups of records that nearly say the same.

    Args:
        among: whether a record is looked at; the others are groups of their own.
        threshold: share of equal rows of two signatures (an estimate of Jaccard's similarity).
    """
    import numpy as np

    chosen = np.flatnonzero(among)
    similar = np.arange(len(ids))
    same = np.arange(len(ids))
    for number in range(BANDS):
        band = _key(_band(pieces, number)[chosen])
        order = chosen[np.lexsort((ids["low"][chosen], ids["high"][chosen], band))]
        band.sort()
        left, right = _neighbours(order, band)
        unlike = (similar[left] != similar[right]) | (
            (labels[left] == labels[right]) & (same[left] != same[right])
        )
        left, right = _alike(pieces, left[unlike], right[unlike], threshold)
        similar = joined(similar, left, right)
        equal = labels[left] == labels[right]
        same = joined(same, left[equal], right[equal])
    return Groups(similar, same)


def joined(groups: Any, left: Any, right: Any) -> Any:
    """Groups of which each pair's are one."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(left):
        return groups
    size = int(groups.max()) + 1
    pairs = (np.ones(len(left), dtype=np.int8), (groups[left], groups[right]))
    _, component = connected_components(coo_array(pairs, shape=(size, size)), directed=False)
    return component[groups]


def _band(pieces: Sequence[Piece], number: int) -> Any:
    import numpy as np

    return np.concatenate([piece.band(number) for piece in pieces])


def _key(band: Any) -> Any:
    """64 bits for each row of a band."""
    import numpy as np

    total = np.zeros(len(band), dtype=np.uint64)
    for column in range(ROWS):
        total = (total ^ (total >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
        total += band[:, column].astype(np.uint64) + np.uint64(1)
    return total


def _neighbours(order: Any, band: Any) -> tuple[Any, Any]:
    """Pairs to compare: of records with an equal band the next ones, and each with the first."""
    import numpy as np

    equal = np.flatnonzero(band[1:] == band[:-1])
    begins = np.ones(len(band), dtype=bool)
    begins[1:] = band[1:] != band[:-1]
    first = np.flatnonzero(begins)[np.cumsum(begins) - 1]
    left = np.concatenate((order[equal], order[first[equal + 1]]))
    right = np.concatenate((order[equal + 1], order[equal + 1]))
    apart = left != right
    return left[apart], right[apart]


def _alike(pieces: Sequence[Piece], left: Any, right: Any, threshold: float) -> tuple[Any, Any]:
    """The pairs whose signatures agree well enough."""
    import numpy as np

    if not len(left):
        return left, right
    agreed = np.zeros(len(left), dtype=np.int32)
    for number in range(BANDS):
        band = _band(pieces, number)
        agreed += (band[left] == band[right]).sum(axis=1, dtype=np.int32)
    kept = agreed >= threshold * BANDS * ROWS
    return left[kept], right[kept]
