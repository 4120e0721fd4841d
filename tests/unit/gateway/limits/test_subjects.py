"""Whose limits count for a call."""

from slipway.gateway.auth import Key
from slipway.gateway.catalog import Snapshot
from slipway.gateway.limits import Rates, subjects_of
from slipway.objects import APIKey, Owner


def key_of(**spec: object) -> Key:
    key = Key.of(
        APIKey.model_validate({"metadata": {"name": "k"}, "spec": spec, "status": {"keyHash": "0" * 64}})
    )
    assert key is not None
    return key


def owner_of(**spec: object) -> Snapshot:
    owner = Owner.model_validate({"metadata": {"name": "ops"}, "spec": spec})
    return Snapshot(owners={owner.owner_name: owner})


def test_a_key_without_limits_has_no_subjects() -> None:
    assert subjects_of(key_of(), "m", Snapshot()) == ()


def test_key_model_and_owner_each_count() -> None:
    key = key_of(
        owner="ops",
        limits={"requestsPerMinute": 5},
        modelLimits=[{"model": "big*", "maxParallel": 1}, {"model": "*", "tokensPerDay": 9}],
    )
    snapshot = owner_of(limits={"budgetUSD": {"week": "1.5"}})
    found = {each.id: each.rates for each in subjects_of(key, "big-7b", snapshot)}
    assert found == {
        "key/k": Rates(requests=5),
        "model/big-7b@k": Rates(parallel=1),
        "owner/ops": Rates(week=1_500_000_000),
    }
    assert [each.id for each in subjects_of(key, "small", snapshot)][1] == "model/small@k"


def test_an_owner_that_changes_counts_at_once() -> None:
    key = key_of(owner="ops")
    assert subjects_of(key, "m", Snapshot()) == ()
    assert len(subjects_of(key, "m", owner_of(limits={"requestsPerMinute": 1}))) == 1
    changed = subjects_of(key, "m", owner_of(limits={"requestsPerMinute": 2}))
    assert changed[0].rates == Rates(requests=2)
