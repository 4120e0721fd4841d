"""What the base model says of each example of a preference, before anything is trained.

It is worked out once and kept: no second copy of the model, no second pass in each epoch, whatever the
method.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from slipway.training.tuning.objectives import Objective
from slipway.training.tuning.worlds import World


@torch.no_grad()
def kept(
    objective: Objective, path: Path, pairs: int, world: World, check: Callable[[], None]
) -> NDArray[np.float64]:
    """Log probability of each example's learned tokens [examples], from `path` or worked out and put there.

    Call this before the model has learned anything: a new adapter changes nothing.
    """
    if world.leads and not path.exists():
        model = objective.model
        model.eval()
        found = np.empty(len(objective.examples), dtype=np.float64)
        for at in range(0, len(found), 2 * pairs):
            if world.size == 1:
                check()
            members = list(range(at, min(at + 2 * pairs, len(found))))
            found[members] = objective.log_probabilities(members).double().cpu().numpy()
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        with unfinished.open("wb") as file:
            np.save(file, found)
        unfinished.replace(path)
    world.wait()
    loaded: NDArray[np.float64] = np.load(path)
    return loaded
