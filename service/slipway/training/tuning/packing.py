"""Whether a model keeps packed examples apart, tried on the model itself."""

from typing import Any

import torch
from torch import Tensor

_FIRST, _SECOND = 7, 9
_CLOSE = 0.1
"""Mean difference, in standard deviations of the logits, that rounding may make."""


@torch.no_grad()
def keeps_apart(model: Any, vocabulary: int, device: torch.device) -> bool:
    """Whether a second example in a row sees nothing of the first, and itself as if it were alone.

    Models made of attention are told by the positions. Others (recurrent, convolutional) mix what lies in
    one row, and their own code says nothing about it.
    """
    was_training = model.training
    model.eval()
    try:
        draw = torch.Generator().manual_seed(0)
        first, other, second = (
            torch.randint(vocabulary, (1, count), generator=draw).to(device)
            for count in (_FIRST, _FIRST, _SECOND)
        )
        after_first, after_other = (_second_logits(model, each, second) for each in (first, other))
        alone = (
            model(input_ids=second, position_ids=_positions(_SECOND, device), use_cache=False)
            .logits[0]
            .float()
        )
    finally:
        model.train(was_training)
    close = (after_first - alone).abs().mean() <= _CLOSE * alone.std()
    return bool(torch.equal(after_first, after_other) and close)


def _second_logits(model: Any, first: Tensor, second: Tensor) -> Tensor:
    device = second.device
    positions = torch.cat([_positions(_FIRST, device), _positions(_SECOND, device)], dim=1)
    logits: Tensor = model(
        input_ids=torch.cat([first, second], dim=1), position_ids=positions, use_cache=False
    ).logits
    return logits[0, _FIRST:].float()


def _positions(count: int, device: torch.device) -> Tensor:
    return torch.arange(count, device=device)[None]
