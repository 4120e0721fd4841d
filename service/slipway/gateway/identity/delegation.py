"""What a key may hand on: never more than it may itself. Pure.

An admin may do everything anyway, so it may hand on everything. A member makes keys for its own owner, with
its own models, limits, priority and end or less of each; what it leaves out is as its own.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from slipway.gateway.auth import Key
from slipway.gateway.errors import APIError
from slipway.objects import APIKeySpec, Budget, Limits, ModelLimits
from slipway.objects.money import nano_dollars

_RANK = {"low": 0, "normal": 1, "high": 2}
_WILD = "*?["


class DeniedError(APIError):
    """403: more than the caller may hand on."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(403, "permission_denied", message, kind="permission_error", param=param)


def filled(actor: Key, spec: APIKeySpec) -> APIKeySpec:
    """The spec of a member's new key, with the member's own limits where it names none."""
    if actor.role == "admin":
        return spec
    own, limits = actor.limits, spec.limits
    budget = Budget(
        day=limits.budget_usd.day or own.budget_usd.day,
        week=limits.budget_usd.week or own.budget_usd.week,
        month=limits.budget_usd.month or own.budget_usd.month,
    )
    both = Limits(
        requests_per_minute=limits.requests_per_minute or own.requests_per_minute,
        tokens_per_minute=limits.tokens_per_minute or own.tokens_per_minute,
        tokens_per_day=limits.tokens_per_day or own.tokens_per_day,
        max_parallel=limits.max_parallel or own.max_parallel,
        budget_usd=budget,
    )
    return spec.model_copy(
        update={
            "limits": both,
            "model_limits": spec.model_limits or actor.model_limits,
            "models": actor.models if "models" not in spec.model_fields_set else spec.models,
            "priority": actor.priority if "priority" not in spec.model_fields_set else spec.priority,
            "expires_at": spec.expires_at or actor.ends,
        }
    )


def check(actor: Key, spec: APIKeySpec) -> None:
    """Raise DeniedError where a key of `spec` may do more than `actor`."""
    if actor.role == "admin":
        return
    if spec.owner != actor.owner:
        raise DeniedError("A member makes and changes keys of its own owner only.", "owner")
    if spec.role != "member":
        raise DeniedError("Only an admin can hand on the role of an admin.", "role")
    for glob in spec.models:
        if not covered(glob, actor.models):
            raise DeniedError(f"Your key may not call all models that `{glob}` stands for.", "models")
    _check_limits(actor.limits, spec.limits, "limits")
    _check_model_limits(actor.model_limits, spec.model_limits)
    if _RANK[spec.priority] > _RANK[actor.priority]:
        raise DeniedError(f"Your key's priority is {actor.priority}; it cannot hand on more.", "priority")
    if actor.ends is not None and (spec.expires_at is None or spec.expires_at > actor.ends):
        raise DeniedError(f"Your key ends at {actor.ends.isoformat()}; set an end no later.", "expiresAt")


def within(maker: Key | None, spec: APIKeySpec) -> bool:
    """Whether a key of `spec` may do no more than its maker; None is one that is gone."""
    if maker is None:
        return False
    try:
        check(maker, spec)
    except DeniedError:
        return False
    return True


def bounded(maker: Key | None, spec: APIKeySpec) -> APIKeySpec:
    """What is in force of a key that a member made: no more than its maker may now; None is one that is gone.

    Limits are not made smaller here: what the key uses counts for its makers too (`Key.makers`).
    """
    if maker is None or maker.owner != spec.owner:
        return spec.model_copy(update={"disabled": True})
    ends = [end for end in (maker.ends, spec.expires_at) if end is not None]
    changed: dict[str, object] = {
        "expires_at": min(ends, default=None),
        "disabled": spec.disabled or maker.disabled,
    }
    if maker.role != "admin":
        both = [glob for glob in spec.models if covered(glob, maker.models)]
        both += [glob for glob in maker.models if covered(glob, spec.models)]
        changed |= {
            "models": tuple(dict.fromkeys(both)),
            "role": "member",
            "priority": min(spec.priority, maker.priority, key=lambda each: _RANK[each]),
        }
    return spec.model_copy(update=changed)


def covered(glob: str, by: Iterable[str]) -> bool:
    """Whether one of the globs `by` matches every name that `glob` matches. Rather no than wrong."""
    return any(_within(glob, each) for each in by)


def _within(glob: str, outer: str) -> bool:
    if outer == "*" or glob == outer:
        return True
    if not any(sign in glob for sign in _WILD):
        return fnmatchcase(glob, outer)
    head = outer.rstrip("*")
    if not outer.endswith("*") or any(sign in head for sign in _WILD):
        return False
    literal = glob[: min(glob.find(sign) for sign in _WILD if sign in glob)]
    return literal.startswith(head)


def _check_limits(own: Limits, asked: Limits, where: str) -> None:
    pairs: tuple[tuple[str, int | None, int | None], ...] = (
        ("requestsPerMinute", own.requests_per_minute, asked.requests_per_minute),
        ("tokensPerMinute", own.tokens_per_minute, asked.tokens_per_minute),
        ("tokensPerDay", own.tokens_per_day, asked.tokens_per_day),
        ("maxParallel", own.max_parallel, asked.max_parallel),
        ("budgetUSD.day", _nano(own.budget_usd.day), _nano(asked.budget_usd.day)),
        ("budgetUSD.week", _nano(own.budget_usd.week), _nano(asked.budget_usd.week)),
        ("budgetUSD.month", _nano(own.budget_usd.month), _nano(asked.budget_usd.month)),
    )
    for name, most, wanted in pairs:
        if most is not None and (wanted is None or wanted > most):
            raise DeniedError(f"`{where}.{name}` is more than your key's own.", f"{where}.{name}")


def _check_model_limits(own: tuple[ModelLimits, ...], asked: tuple[ModelLimits, ...]) -> None:
    """The first entry that fits a model counts, so the own ones must stand in front, each no larger."""
    for number, each in enumerate(own):
        other = asked[number] if number < len(asked) else None
        if other is None or other.model != each.model:
            raise DeniedError(
                f"`modelLimits` must begin with your key's own; `{each.model}` is missing.", "modelLimits"
            )
        _check_limits(each, other, f"modelLimits[{number}]")


def _nano(amount: str | None) -> int | None:
    return None if amount is None else nano_dollars(amount)
