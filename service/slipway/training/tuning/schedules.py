"""How the learning rate rises and falls. Each is a pure function of the step, so nothing is kept."""

import math


def factor(kind: str, step: int, total: int, warmup: int) -> float:
    """The share of the highest learning rate at `step` (from 0) of `total`, the first `warmup` rising."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    match kind:
        case "linear":
            return max(0.0, 1.0 - done)
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
        case "inverse_sqrt":
            beginning = max(1, warmup)
            return math.sqrt(beginning / (step + 1)) if step >= beginning else 1.0
        case _:
            return 1.0


def warmup_steps(share: float, total: int) -> int:
    """Steps of the rise."""
    return math.ceil(share * total)
