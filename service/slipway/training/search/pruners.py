"""Which trials are ended before they are done.

Their steps are evaluations, counted from 1: optimizer steps of trials with different batch sizes do not
compare, evaluations do, as each epoch has the same number of them.
"""

from typing import TYPE_CHECKING

from slipway.objects.hyperparameters import SearchSpec

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

_REDUCTION = 3
"""Of three trials one goes on (eta of the Hyperband paper, Li et al. 2018)."""


def pruner(spec: SearchSpec, evaluations: int) -> "BasePruner":
    """The pruner that is asked for.

    Args:
        spec: of the search.
        evaluations: of a training at most.
    """
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    if spec.pruning == "none":
        return NopPruner()
    if spec.pruning == "median":
        return MedianPruner(n_startup_trials=max(2, min(5, spec.trials // 3)))
    return HyperbandPruner(min_resource=1, max_resource=evaluations, reduction_factor=_REDUCTION)
