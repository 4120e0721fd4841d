"""The choice of an endpoint."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from slipway.gateway.relay.balancer import AVOID_LONGEST, Balancer


def test_ties_are_taken_in_turn() -> None:
    balancer = Balancer(lambda: 0.0, 100)
    picks = []
    for _ in range(9):
        address = balancer.pick(("a", "b", "c"))
        assert address is not None
        picks.append(address)
        balancer.done(address)
    assert Counter(picks) == {"a": 3, "b": 3, "c": 3}


def test_a_failed_endpoint_is_the_last_choice_but_a_choice() -> None:
    now = 0.0
    balancer = Balancer(lambda: now, 100)
    balancer.failed("a")
    assert [balancer.pick(("a", "b")) for _ in range(5)] == ["b"] * 5
    assert balancer.pick(("a",)) == "a"
    now = 1.5
    balancer.done("a")
    assert balancer.pick(("a", "b")) == "a"


def test_avoidance_grows_to_a_bound_and_ends_with_an_answer() -> None:
    balancer = Balancer(lambda: 0.0, 100)
    for _ in range(50):
        balancer.failed("a")
    assert balancer._loads["a"].avoid_until == AVOID_LONGEST
    balancer.answered("a")
    assert balancer.pick(("a", "b")) == "a"


def test_tried_and_full_endpoints_are_passed_over() -> None:
    balancer = Balancer(lambda: 0.0, 1)
    assert balancer.pick(("a", "b"), {"a"}) == "b"
    assert balancer.pick(("a", "b")) == "a"
    assert balancer.pick(("a", "b")) is None


@given(st.lists(st.sampled_from(["pick", "done"]), max_size=100), st.integers(1, 4))
def test_loads_never_differ_by_more_than_one_when_only_picking(steps: list[str], bound: int) -> None:
    balancer = Balancer(lambda: 0.0, bound)
    held: list[str] = []
    for step in steps:
        if step == "pick":
            address = balancer.pick(("a", "b", "c"))
            assert (address is None) == (len(held) == 3 * bound)
            if address is not None:
                assert balancer.outstanding(address) == min(Counter([*"abc", *held]).values())
                held.append(address)
        elif held:
            balancer.done(held.pop(0))
        assert all(balancer.outstanding(each) == held.count(each) for each in "abc")


def test_what_is_gone_is_forgotten_once_its_work_is_done() -> None:
    balancer = Balancer(lambda: 0.0, 10)
    balancer.pick(("a",))
    balancer.pick(("b",))
    balancer.done("b")
    balancer.forget(set())
    assert set(balancer._loads) == {"a"}
