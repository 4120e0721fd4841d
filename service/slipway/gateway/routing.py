"""Which models may answer a request: the one that was asked for, or those that a route leads to, in order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Protocol, TypeVar

from slipway.gateway.catalog import Model, Snapshot
from slipway.objects import ModelRoute


class _Weighted(Protocol):
    @property
    def weight(self) -> int: ...


_WeightedT = TypeVar("_WeightedT", bound=_Weighted)

DEEPEST = 4
"""Routes that may lead to one another."""


def candidates(
    snapshot: Snapshot, name: str, draw: Callable[[], float], sticky: str | None = None
) -> tuple[Model, ...]:
    """The models to try for `name`, best first; () where the name is neither a model nor a route.

    A route's target is chosen by weight with `draw` (0 to below 1), or always the same one for the same
    `sticky` value; its fallbacks follow, then its other targets. What does not exist is passed over.
    """
    model = snapshot.models.get(name)
    if model is not None:
        return (model,)
    if name not in snapshot.routes:
        return ()
    found: dict[str, Model] = {}
    for each in _names(snapshot, name, draw, sticky, 0):
        target = snapshot.models.get(each)
        if target is not None:
            found.setdefault(target.name, target)
    return tuple(found.values())


def served(snapshot: Snapshot, name: str) -> Model | None:
    """The model or virtual model called `name` as clients see it: ready as soon as anything behind it is."""
    found = candidates(snapshot, name, lambda: 0.0)
    if not found or found[0].name == name:
        return found[0] if found else None
    ready = tuple(address for each in found for address in each.ready)
    if not _quorate(snapshot, name):
        ready = ()
    status = None if ready else found[0].status  # No service's own: another may serve while one fails.
    return replace(found[0], name=name, parent=None, ready=ready, status=status)


def _quorate(snapshot: Snapshot, name: str) -> bool:
    """Whether enough members can serve, where `name` is an ensemble."""
    spec = snapshot.routes[name].spec
    if spec.ensemble is None:
        return True
    served_by = [candidates(snapshot, target.model, lambda: 0.0) for target in spec.members]
    able = sum(any(each.ready for each in models) for models in served_by)
    return able >= (spec.ensemble.quorum or len(spec.members) // 2 + 1)


def _names(
    snapshot: Snapshot, name: str, draw: Callable[[], float], sticky: str | None, depth: int
) -> Iterator[str]:
    route = snapshot.routes.get(name)
    if route is None or name in snapshot.models:
        yield name
        return
    if depth >= DEEPEST or (depth and route.spec.ensemble is not None):
        return  # What asks several models is no target: one of them would answer for all.
    first = chosen(route, share(name, sticky) if sticky is not None else draw())
    others = [target.model for target in route.spec.targets if target.model != first and target.weight]
    for each in (first, *route.spec.fallbacks, *others):
        yield from _names(snapshot, each, draw, sticky, depth + 1)


def chosen(route: ModelRoute, point: float) -> str:
    """The target at `point` (0 to below 1) of the weights laid end to end."""
    return at(route.spec.targets, point).model


def at(weighted: Sequence[_WeightedT], point: float) -> _WeightedT:
    """What is at `point` (0 to below 1) of the weights laid end to end; one of them is not zero."""
    rest = point * sum(each.weight for each in weighted)
    for each in weighted:
        if rest < each.weight:
            return each
        rest -= each.weight
    return next(each for each in reversed(weighted) if each.weight)


def share(name: str, sticky: str) -> float:
    """A point from 0 to below 1, always the same for a session at a route."""
    digest = sha256(f"{name}\0{sticky}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)
