"""What is made small: the sum over a micro-batch of what each learned place, text or pair costs.

Sums, not means: the loop divides by what the whole step learns from, so that the gradient is the same
however the step was divided into micro-batches and processes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from numpy.typing import NDArray
from torch import Tensor

from slipway.training.tuning import collation
from slipway.training.tuning.collation import Micro
from slipway.training.tuning.conversations import IGNORED
from slipway.training.tuning.examples import Examples


@dataclass(frozen=True, slots=True)
class Cost:
    """What a micro-batch costs."""

    total: Tensor
    """The sum that is made small; it has a gradient."""
    plain: Tensor
    """The cost of each unit [U] without smoothing or class weights, for people; no gradient."""
    right: Tensor
    """How many places (or pairs) of each unit the model has right [U]."""


@dataclass(slots=True)
class Objective:
    """The cost of a model on units of one part of the data: examples, or pairs of them for a preference.

    Args:
        examples: the part.
        collate: makes the tensors of some examples.
        head: the module whose outputs are learned from, where only some of its inputs need be computed.
        smoothing: label smoothing, 0 to 1.
        class_weights: of a classification [classes].
        reference: log probability of each example under the base model; makes it a preference.
        beta: of a preference.
    """

    model: Any
    examples: Examples
    collate: Callable[[Sequence[int]], Micro]
    device: torch.device
    head: Any | None = None
    smoothing: float = 0.0
    class_weights: Tensor | None = None
    reference: NDArray[np.float64] | None = None
    beta: float = 0.1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each unit."""
        lengths = self.examples.lengths
        return lengths.reshape(-1, 2).sum(axis=1) if self.reference is not None else lengths

    @property
    def sources(self) -> NDArray[np.int32]:
        """The source of each unit."""
        return self.examples.sources[::2] if self.reference is not None else self.examples.sources

    def members(self, units: Sequence[int] | NDArray[np.int64]) -> list[int]:
        """The examples of some units."""
        if self.reference is None:
            return [int(unit) for unit in units]
        return [int(at) for unit in units for at in (2 * unit, 2 * unit + 1)]

    def places(self, units: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """How many places each unit is learned from (1 of a preference)."""
        if self.reference is not None:
            return np.ones(len(units), dtype=np.int64)
        return np.array([self._learned(int(unit)) for unit in units], dtype=np.int64)

    def weight(self, units: Sequence[int] | NDArray[np.int64]) -> float:
        """What the sum of some units is divided by to make a mean."""
        if self.class_weights is None:
            return float(self.places(units).sum())
        weights = self.class_weights.cpu().numpy()
        return float(
            sum(weights[labels[labels != IGNORED]].sum() for _, labels in map(self.examples.tokens, units))
        )

    def cost(self, units: Sequence[int] | NDArray[np.int64]) -> Cost:
        """Run the model on some units."""
        members = self.members(units)
        micro = self.collate(members)
        logits = self.logits(micro)
        targets, owners = micro.targets.to(self.device), micro.owners.to(self.device)
        if self.reference is not None:
            reference = torch.from_numpy(self.reference[members]).to(self.device, torch.float32)
            return self._preference(logits, targets, owners, reference)
        plain = F.cross_entropy(logits, targets, reduction="none")
        costs = plain
        if self.smoothing or self.class_weights is not None:
            costs = F.cross_entropy(
                logits, targets, self.class_weights, label_smoothing=self.smoothing, reduction="none"
            )
        right = (logits.detach().argmax(-1) == targets).float()
        return Cost(
            costs.sum(), _summed(plain.detach(), owners, micro.size), _summed(right, owners, micro.size)
        )

    def logits(self, micro: Micro) -> Tensor:
        """Outputs [N, …] at the places that are learned from, in float32."""
        inputs = {name: value.to(self.device) for name, value in micro.inputs.items()}
        row, column = (part.to(self.device) for part in micro.at)
        if self.head is None:
            logits = self.model(**inputs).logits
            return (logits if logits.dim() == 2 else logits[row, column]).float()
        # A vocabulary is wide: the head computes nothing for places that nobody learns from.
        hook = self.head.register_forward_pre_hook(lambda module, given: (given[0][row, column], *given[1:]))
        try:
            # With a cache Transformers takes positions that begin anew for one sequence.
            return self.model(**inputs, use_cache=False).logits.float()
        finally:
            hook.remove()

    def log_probabilities(self, members: Sequence[int]) -> Tensor:
        """Of each example's learned tokens together [examples]."""
        micro = self.collate(members)
        costs = F.cross_entropy(self.logits(micro), micro.targets.to(self.device), reduction="none")
        return -_summed(costs, micro.owners.to(self.device), micro.size)

    def _preference(self, logits: Tensor, targets: Tensor, owners: Tensor, reference: Tensor) -> Cost:
        """Direct preference optimization (Rafailov et al., arXiv:2305.18290)."""
        spoken = -_summed(F.cross_entropy(logits, targets, reduction="none"), owners, len(reference))
        gain = (spoken - reference).view(-1, 2)
        margin = self.beta * (gain[:, 0] - gain[:, 1])
        costs = -F.logsigmoid(margin)
        return Cost(costs.sum(), costs.detach(), (margin.detach() > 0).float())

    def _learned(self, unit: int) -> int:
        _, labels = self.examples.tokens(unit)
        return int(np.count_nonzero(labels[self._first :] != IGNORED))

    @property
    def _first(self) -> int:
        """A token that nothing comes before is not learned by a model that writes from left to right."""
        return (
            1 if self.head is not None and not getattr(self.model.config, "is_encoder_decoder", False) else 0
        )


def _summed(values: Tensor, owners: Tensor, size: int) -> Tensor:
    return torch.zeros(size, dtype=values.dtype, device=values.device).index_add(0, owners, values)


def objective_of(
    model: Any, examples: Examples, *, task: str, pad: int, packed: bool, device: torch.device, **more: Any
) -> Objective:
    """The objective of a task. `more`: smoothing, class_weights, reference, beta."""
    if task == "generate" and getattr(model.config, "is_encoder_decoder", False):
        start = model.config.decoder_start_token_id

        def collate(chosen: Sequence[int]) -> Micro:
            return collation.sequence_to_sequence(examples, chosen, pad, start)

    elif task == "generate":

        def collate(chosen: Sequence[int]) -> Micro:
            return collation.causal(examples, chosen, pad, packed=packed)

    else:

        def collate(chosen: Sequence[int]) -> Micro:
            return collation.classified(examples, chosen, pad, tags=task == "tag")

    head = model.get_output_embeddings() if task == "generate" else None
    return Objective(model, examples, collate, device, head, **more)


def balanced(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weights by which rare classes count as much as frequent ones (as scikit-learn's `balanced`)."""
    present = np.maximum(counts, 1)
    return (counts.sum() / (np.count_nonzero(counts) * present)).astype(np.float32)
