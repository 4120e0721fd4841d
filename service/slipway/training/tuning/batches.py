"""Which examples make which step: pure functions of lengths, seed and epoch.

A process that goes on after a kill needs no saved state of a shuffler: the step says where it is.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Indices: TypeAlias = "NDArray[np.int64]"
_GROUP = 50
"""Batches that are sorted by length together: enough for little padding, few enough to stay random."""


def epoch(lengths: NDArray[np.int64], size: int, seed: int, number: int, *, by_length: bool) -> list[Indices]:
    """The batches of one pass over the data, in order.

    Args:
        lengths: tokens of each example.
        size: examples of a batch; the last one may be smaller.
        seed, number: of the draw, and of the pass.
        by_length: whether a batch holds examples of similar length, so that padding wastes little.
    """
    random = np.random.Generator(np.random.PCG64((seed, number)))
    order = random.permutation(len(lengths))
    if not by_length:
        return [order[at : at + size] for at in range(0, len(order), size)]
    batches: list[Indices] = []
    for at in range(0, len(order), size * _GROUP):
        group = order[at : at + size * _GROUP]
        group = group[np.argsort(-lengths[group], kind="stable")]
        batches += [group[i : i + size] for i in range(0, len(group), size)]
    return [batches[i] for i in random.permutation(len(batches))]


def steps_of_epoch(examples: int, size: int) -> int:
    """Batches of one pass."""
    return -(-examples // size)


def micro_batches(batch: Indices, lengths: NDArray[np.int64], size: int) -> list[Indices]:
    """A batch in parts of `size` examples, the longest first: what does not fit shows at once."""
    order = batch[np.argsort(-lengths[batch], kind="stable")]
    return [order[at : at + size] for at in range(0, len(order), size)]


def share(batch: Indices, lengths: NDArray[np.int64], rank: int, ranks: int) -> Indices:
    """What one of several processes works on of a batch: as many tokens as the others, nearly."""
    return batch[np.argsort(-lengths[batch], kind="stable")][rank::ranks]


def rows(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Examples put into rows of at most `capacity` tokens, first fit by falling length; their positions.

    An example longer than that has a row of its own.
    """
    found: list[tuple[int, list[int]]] = []
    for at in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        for number, (used, members) in enumerate(found):
            if used + lengths[at] <= capacity:
                members.append(at)
                found[number] = (used + lengths[at], members)
                break
        else:
            found.append((lengths[at], [at]))
    return [members for _, members in found]
