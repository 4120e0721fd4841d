"""The cost on the validation part while training: as a whole, by source, and the share that is right."""

from collections.abc import Callable

import numpy as np
import torch

from slipway.training.tuning.batches import Indices
from slipway.training.tuning.objectives import Objective
from slipway.training.tuning.worlds import World


@torch.no_grad()
def evaluate(objective: Objective, size: int, world: World, check: Callable[[], None]) -> dict[str, float]:
    """Metrics: `eval_loss`, `eval_accuracy`, and `eval_loss/SOURCE` where there are several sources.

    Args:
        objective: of the validation part.
        size: units that are worked on at once.
        world: those who share the work.
        check: called between micro-batches; may raise.
    """
    lengths, sources = objective.lengths, objective.sources
    names = objective.examples.names
    order: Indices = np.argsort(-lengths, kind="stable")[world.rank :: world.size]
    sums = torch.zeros(3, len(names), dtype=torch.float64)
    was_training = objective.model.training
    objective.model.eval()
    try:
        for at in range(0, len(order), size):
            check()
            units = order[at : at + size]
            cost = objective.cost(units)
            of = torch.from_numpy(sources[units].astype(np.int64))
            rows = (cost.plain, cost.right, torch.from_numpy(objective.places(units)))
            for row, values in enumerate(rows):
                sums[row].index_add_(0, of, values.cpu().double())
    finally:
        objective.model.train(was_training)
    sums = sums.to(torch.float32).to(objective.device) if world.size > 1 else sums
    world.total(sums)
    costs, right, places = sums.cpu().tolist()
    metrics = {"eval_loss": sum(costs) / sum(places), "eval_accuracy": sum(right) / sum(places)}
    if len(names) > 1:
        metrics |= {
            f"eval_loss/{name}": cost / count
            for name, cost, count in zip(names, costs, places, strict=True)
            if count
        }
    return metrics
