"""A key can make none that may do more than itself: tried against what each field means."""

from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slipway.gateway.auth import Key
from slipway.gateway.identity import delegation
from slipway.gateway.identity.delegation import DeniedError, covered
from slipway.objects import APIKeySpec, Budget, Limits, ModelLimits

NAMES = ["".join(letters) for length in range(4) for letters in product("ab]", repeat=length)]
LIMITS = ("requests_per_minute", "tokens_per_minute", "tokens_per_day", "max_parallel")
PERIODS = ("day", "week", "month")
RANK = {"low": 0, "normal": 1, "high": 2}
SOON = datetime(2031, 1, 1, tzinfo=UTC)

globs = st.text("ab*", min_size=1, max_size=3) | st.text("ab*?[]!-", min_size=1, max_size=5)
numbers = st.none() | st.integers(1, 3)
money = st.none() | st.sampled_from(["0.5", "1", "10", "2.25"])
budgets = st.builds(Budget, day=money, week=money, month=money)
limits = st.builds(Limits, **dict.fromkeys(LIMITS, numbers), budget_usd=budgets)
model_limits = st.builds(
    ModelLimits, model=st.sampled_from(["*", "a*", "a", "b?"]), **dict.fromkeys(LIMITS, numbers),
    budget_usd=budgets,
)  # fmt: skip
specs = st.builds(
    APIKeySpec,
    owner=st.sampled_from(["search", "ops"]),
    role=st.sampled_from(["admin", "member"]),
    models=st.lists(st.sampled_from(["*", "a*", "a", "ab", "b?"]) | globs, max_size=3).map(tuple),
    limits=limits,
    model_limits=st.lists(model_limits, max_size=3).map(tuple),
    priority=st.sampled_from(["low", "normal", "high"]),
    expires_at=st.none() | st.integers(0, 2).map(lambda days: SOON + timedelta(days=days)),
)


def key(spec: APIKeySpec) -> Key:
    return Key.made("k", spec, "0" * 64)


def member(**spec: Any) -> Key:
    return key(APIKeySpec.model_validate({"owner": "search", **spec}))


def asked(**spec: Any) -> APIKeySpec:
    return APIKeySpec.model_validate({"owner": "search", **spec})


@given(globs, st.lists(globs, max_size=3))
@example("b*", ["a*"])
@example("[a]b", ["[a]b", "b*"])
@example("a[*", ["a[*"])
def test_a_glob_is_covered_only_where_every_name_of_it_is(inner: str, outer: list[str]) -> None:
    if covered(inner, outer):
        for name in NAMES:
            assert not fnmatchcase(name, inner) or any(fnmatchcase(name, each) for each in outer)


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        ("qwen", ["*"], True),
        ("qwen*", ["qwen*"], True),
        ("qwen-2?", ["qwen*"], True),
        ("qwen-2", ["llama*", "qwen*"], True),
        ("*", ["qwen*"], False),
        ("qwen*", ["qwen"], False),
        ("qwe*", ["qwen*"], False),
        ("[qb]wen", ["qwen"], False),
        ("Qwen", ["qwen"], False),
    ],
)
def test_globs_that_people_write(inner: str, outer: list[str], expected: bool) -> None:
    assert covered(inner, outer) is expected


@given(specs, specs)
def test_what_is_let_through_may_do_no_more_than_who_asked(own: APIKeySpec, wanted: APIKeySpec) -> None:
    actor = key(own)
    if not delegation.within(actor, wanted) or actor.role == "admin":
        return
    assert (wanted.owner, wanted.role) == (own.owner, "member")
    assert RANK[wanted.priority] <= RANK[own.priority]
    assert own.expires_at is None or (wanted.expires_at is not None and wanted.expires_at <= own.expires_at)
    assert_within(own.limits, wanted.limits)
    made = key(wanted)
    for name in NAMES:
        if made.allows(name):
            assert actor.allows(name)
        of_own = first(own.model_limits, name)
        if of_own is not None:
            of_made = first(wanted.model_limits, name)
            assert of_made is not None
            assert_within(of_own, of_made)


@given(specs, specs)
def test_what_is_in_force_follows_the_maker_of_now(now: APIKeySpec, made: APIKeySpec) -> None:
    """Whatever becomes of a maker: the key may do no more than it, and no more than it could."""
    maker, held = key(now), delegation.bounded(key(now), made)
    child = key(held)
    assert held.disabled or maker.owner == held.owner
    if child.disabled:
        return
    assert not maker.disabled
    assert RANK[child.priority] <= RANK[made.priority]
    for end in (now.expires_at, made.expires_at):
        assert end is None or (held.expires_at is not None and held.expires_at <= end)
    before = key(made)
    for name in NAMES:
        assert not child.allows(name) or before.allows(name)
    if maker.role == "member":
        assert held.role == "member"
        assert RANK[child.priority] <= RANK[maker.priority]
        assert all(maker.allows(name) for name in NAMES if child.allows(name))


@given(specs)
def test_a_key_whose_maker_is_gone_is_in_force_no_more(made: APIKeySpec) -> None:
    assert delegation.bounded(None, made).disabled
    assert not delegation.within(None, made)


def first(entries: tuple[ModelLimits, ...], name: str) -> ModelLimits | None:
    return next((entry for entry in entries if fnmatchcase(name, entry.model)), None)


def dollars(of: Limits, period: str) -> float | None:
    amount: str | None = getattr(of.budget_usd, period)
    return None if amount is None else float(amount)


def assert_within(own: Limits, made: Limits) -> None:
    pairs = [(getattr(own, name), getattr(made, name)) for name in LIMITS]
    pairs += [(dollars(own, name), dollars(made, name)) for name in PERIODS]
    for most, given_on in pairs:
        assert most is None or (given_on is not None and given_on <= most)


@given(specs)
def test_what_a_member_leaves_out_is_as_its_own(own: APIKeySpec) -> None:
    actor = key(own.model_copy(update={"role": "member"}))
    made = delegation.filled(actor, asked(owner=own.owner))
    delegation.check(actor, made)
    assert made.limits == own.limits
    assert made.models == own.models


@given(specs)
def test_an_admin_hands_on_anything(wanted: APIKeySpec) -> None:
    actor = member(role="admin", models=["a"], priority="low")
    delegation.check(actor, wanted)
    assert delegation.filled(actor, wanted) == wanted


OWN: dict[str, Any] = {
    "models": ["a*"],
    "limits": {"requestsPerMinute": 10, "budgetUSD": {"month": "5"}},
    "modelLimits": [{"model": "ab", "maxParallel": 2}],
    "expiresAt": "2031-01-01T00:00:00Z",
}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"owner": "ops"}, "owner"),
        ({"role": "admin"}, "role"),
        ({"models": ["*"]}, "models"),
        ({"models": ["a*", "b"]}, "models"),
        ({"limits": {**OWN["limits"], "requestsPerMinute": 11}}, "limits.requestsPerMinute"),
        ({"limits": {"requestsPerMinute": 10}}, "limits.budgetUSD.month"),
        ({"limits": {**OWN["limits"], "budgetUSD": {"month": "5.01"}}}, "limits.budgetUSD.month"),
        ({"modelLimits": []}, "modelLimits"),
        ({"modelLimits": [{"model": "*"}, *OWN["modelLimits"]]}, "modelLimits"),
        ({"modelLimits": [{"model": "ab", "maxParallel": 3}]}, "modelLimits[0].maxParallel"),
        ({"priority": "high"}, "priority"),
        ({"expiresAt": "2031-01-01T00:00:01Z"}, "expiresAt"),
        ({"expiresAt": None}, "expiresAt"),
    ],
)
def test_each_field_that_asks_for_more_is_named(change: dict[str, Any], param: str) -> None:
    actor = member(**OWN)
    delegation.check(actor, asked(**OWN))
    with pytest.raises(DeniedError) as refused:
        delegation.check(actor, asked(**{**OWN, **change}))
    assert refused.value.param == param
