"""Which parameters the next trial gets: a function of the seed, its number and what came of those before it.

A sampler of Optuna's keeps a random state that dies with its process. Here each draw starts one anew from
the seed and the trial's number, so that a search that was killed draws what the unbroken one would have.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from slipway.objects.hyperparameters import SearchSpec
from slipway.training.search.spaces import Space

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_AGAIN = 32
"""Draws until a space in which everything seems to be tried counts as exhausted."""
_STARTUP = 10
"""Random trials before the first that learns from those before it, at most."""


def draw(
    study: "Study", trials: Sequence["FrozenTrial"], spec: SearchSpec, space: Space, pruner: "BasePruner"
) -> dict[str, str] | None:
    """The parameters of the trial after `trials`; None where all there are have been tried.

    The same parameters are not tried twice: with the same seed the training would be the same.
    """
    number = len(trials)
    tried = {tuple(space.text(trial.params).values()) for trial in trials}
    if space.size is not None and len(tried) >= space.size:
        return None
    for attempt in range(_AGAIN):
        sampler = _sampler(spec, space, number, attempt)
        parameters = space.text(_ask(study, trials, sampler, space, pruner))
        if tuple(parameters.values()) not in tried:
            return parameters
    return None


def _ask(
    study: "Study",
    trials: Sequence["FrozenTrial"],
    sampler: "BaseSampler",
    space: Space,
    pruner: "BasePruner",
) -> dict[str, Any]:
    """Ask in a copy, since asking writes value by value and a kill between two would leave half a trial."""
    import optuna

    copy = optuna.create_study(
        study_name=study.study_name, direction=study.direction, sampler=sampler, pruner=pruner
    )
    copy.add_trials(trials)
    return dict(copy.ask({axis.name: axis.distribution() for axis in space.axes}).params)


def _sampler(spec: SearchSpec, space: Space, number: int, attempt: int) -> "BaseSampler":
    from optuna.samplers import GridSampler, RandomSampler, TPESampler

    if spec.algorithm == "grid":
        return GridSampler({axis.name: axis.values for axis in space.axes}, seed=spec.seed)
    digest = sha256(f"{spec.seed}/{number}/{attempt}".encode()).digest()
    seed = int.from_bytes(digest[:4], "big")
    # What the model proposes again and again is tried; past half of the draws chance finds what is not.
    if spec.algorithm == "random" or attempt >= _AGAIN // 2:
        return RandomSampler(seed=seed)
    startup = max(3, min(_STARTUP, spec.trials // 3))
    return TPESampler(
        seed=seed, n_startup_trials=startup, multivariate=True, constant_liar=spec.parallelism > 1
    )
