"""Examples become the tensors of one forward pass: packed into rows, or one a row with padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slipway.training.tuning.batches import rows
from slipway.training.tuning.conversations import IGNORED
from slipway.training.tuning.examples import Examples

_ROW = 1024
"""Tokens of a packed row, where no example is longer: attention looks at a row's every pair of places."""


@dataclass(frozen=True, slots=True)
class Micro:
    """What is worked on at once. B rows of L places; N places are learned from."""

    inputs: dict[str, Tensor]
    """Arguments of the model."""
    at: tuple[Tensor, Tensor]
    """Row and column [N] of the outputs that are learned from."""
    targets: Tensor
    """What they should say [N]."""
    owners: Tensor
    """Which of the micro-batch's examples each belongs to [N]."""
    size: int
    """Examples."""


def causal(examples: Examples, chosen: Sequence[int], pad: int, *, packed: bool) -> Micro:
    """Of a model that writes from left to right: the output before a learned token is learned from.

    Packed examples are told apart by their positions, which begin anew with each: Transformers makes a mask
    of them in which no example sees another. Padding comes last, where nothing looks back on it, and is an
    example of its own in a packed row.
    """
    pieces = [examples.tokens(at) for at in chosen]
    lengths = [len(ids) for ids, _ in pieces]
    grid = rows(lengths, max(_ROW, *lengths)) if packed else [[at] for at in range(len(pieces))]
    longest = max(sum(lengths[at] for at in members) for members in grid)
    ids = np.full((len(grid), longest), pad, dtype=np.int64)
    positions = np.zeros((len(grid), longest), dtype=np.int64)
    places: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
    for row, members in enumerate(grid):
        begin = 0
        for member in members:
            tokens, labels = pieces[member]
            end = begin + len(tokens)
            ids[row, begin:end] = tokens
            positions[row, begin:end] = np.arange(len(tokens))
            learned = np.flatnonzero(labels[1:] != IGNORED)
            count = len(learned)
            places.append(
                (
                    np.full(count, row),
                    begin + learned,
                    labels[1:][learned].astype(np.int64),
                    np.full(count, member),
                )
            )
            begin = end
        positions[row, begin:] = np.arange(longest - begin) + (0 if packed else begin)
    row, column, targets, owners = (
        torch.from_numpy(np.concatenate(part)) for part in zip(*places, strict=True)
    )
    inputs = {"input_ids": torch.from_numpy(ids), "position_ids": torch.from_numpy(positions)}
    return Micro(inputs, (row, column), targets, owners, len(pieces))


def sequence_to_sequence(examples: Examples, chosen: Sequence[int], pad: int, start: int) -> Micro:
    """Of a model with an encoder and a decoder: what is ignored is read, the rest is written."""
    pieces = [examples.tokens(at) for at in chosen]
    reads, writes = [], []
    for ids, labels in pieces:
        split = int(np.argmax(labels != IGNORED))
        reads.append(ids[:split])
        writes.append(ids[split:])
    read, mask = _padded(reads, pad)
    written, present = _padded(writes, pad)
    decoder = torch.cat([torch.full((len(writes), 1), start), written[:, :-1]], dim=1)
    row, column = present.nonzero(as_tuple=True)
    inputs = {"input_ids": read, "attention_mask": mask, "decoder_input_ids": decoder}
    return Micro(inputs, (row, column), written[row, column], row, len(pieces))


def classified(examples: Examples, chosen: Sequence[int], pad: int, *, tags: bool) -> Micro:
    """Of a model that gives a label to a text, or to its tokens."""
    pieces = [examples.tokens(at) for at in chosen]
    ids, mask = _padded([tokens for tokens, _ in pieces], pad)
    labels, _ = _padded([labels for _, labels in pieces], IGNORED)
    row, column = (labels != IGNORED).nonzero(as_tuple=True)
    if not tags:
        row = torch.arange(len(pieces))
        column = torch.zeros_like(row)
    return Micro(
        {"input_ids": ids, "attention_mask": mask}, (row, column), labels[row, column], row, len(pieces)
    )


def _padded(pieces: Sequence[NDArray[np.int32]], fill: int) -> tuple[Tensor, Tensor]:
    """Values and presence, each [B, L]."""
    longest = max(len(piece) for piece in pieces)
    values = np.full((len(pieces), longest), fill, dtype=np.int64)
    present = np.zeros((len(pieces), longest), dtype=np.int64)
    for row, piece in enumerate(pieces):
        values[row, : len(piece)] = piece
        present[row, : len(piece)] = 1
    return torch.from_numpy(values), torch.from_numpy(present)
