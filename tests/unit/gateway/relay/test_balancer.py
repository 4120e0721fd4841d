"""The choice of an endpoint."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from slipway.gateway.relay.balancer import AVOID_LONGEST, EJECT_AFTER, Balancer


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


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_endpoint_that_fails_again_and_again_gets_nothing_while_another_is_sound() -> None:
    clock = Clock()
    ejected: list[str] = []
    balancer = Balancer(clock, 2, on_eject=ejected.append)
    for _ in range(EJECT_AFTER):
        balancer.failed("a")
    assert ejected == ["a"]
    assert [balancer.pick(("a", "b")) for _ in range(3)] == ["b", "b", None]  # Full is no reason to ask it.
    assert balancer.pick(("a", "b"), {"b"}) == "a"  # With the sound ones tried, it is better than nothing.


def test_with_nothing_sound_left_everything_is_tried() -> None:
    balancer = Balancer(Clock(), 10)
    for address in ("a", "b"):
        for _ in range(EJECT_AFTER):
            balancer.failed(address)
    assert {balancer.pick(("a", "b")) for _ in range(2)} == {"a", "b"}


def test_half_open_lets_one_request_in_and_the_outcome_decides() -> None:
    clock = Clock()
    balancer = Balancer(clock, 10)
    for _ in range(EJECT_AFTER):
        balancer.failed("a")
    clock.now = AVOID_LONGEST + 1
    picks = [balancer.pick(("a", "b")) for _ in range(6)]
    assert picks.count("a") == 1
    balancer.failed("a")
    balancer.done("a")
    assert balancer.pick(("a", "b")) == "b"
    clock.now *= 3
    picks = [balancer.pick(("a", "b")) for _ in range(20)]
    assert picks.count("a") == 1
    balancer.answered("a")
    assert balancer.pick(("a", "b")) == "a"


def test_a_probe_whose_client_left_decides_nothing() -> None:
    clock = Clock()
    balancer = Balancer(clock, 10)
    for _ in range(EJECT_AFTER):
        balancer.failed("a")
    clock.now = 100
    assert balancer.pick(("a",)) == "a"
    assert balancer.ejected() == 1
    balancer.done("a")
    assert balancer.ejected() == 0


def test_low_priority_leaves_room_for_others() -> None:
    balancer = Balancer(Clock(), 4, low_share=0.5)
    assert [balancer.pick(("a",), low=True) for _ in range(3)] == ["a", "a", None]
    assert [balancer.pick(("a",)) for _ in range(3)] == ["a", "a", None]


def test_only_endpoints_with_work_are_silent_and_each_is_told_once() -> None:
    clock = Clock()
    balancer = Balancer(clock, 4)
    balancer.pick(("a",))
    balancer.pick(("b",))
    balancer.done("b")
    clock.now = 6
    assert balancer.silent(5) == ["a"]
    assert balancer.silent(5) == []
    clock.now = 10
    balancer.heard("a")
    clock.now = 14
    assert balancer.silent(5) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["pick", "low", "done", "fail", "answer", "eject", "wait"]),
            st.sampled_from("abc"),
        ),
        max_size=150,
    )
)
def test_whatever_happens_a_ready_endpoint_with_room_is_found_and_counts_hold(
    steps: list[tuple[str, str]],
) -> None:
    clock = Clock()
    balancer = Balancer(clock, 3)
    held: list[str] = []
    for kind, address in steps:
        match kind:
            case "pick" | "low":
                got = balancer.pick(("a", "b", "c"), low=kind == "low")
                if not held:
                    assert got is not None
                if got is not None:
                    held.append(got)
            case "done":
                if address in held:
                    held.remove(address)
                    balancer.done(address)
            case "fail":
                balancer.failed(address)
            case "answer":
                balancer.answered(address)
            case "eject":
                balancer.eject(address)
            case _:
                clock.now += 3
        assert all(balancer.outstanding(each) == held.count(each) <= 3 for each in "abc")
        if balancer.ejected() < 3 and len(held) == 0:
            sound = [
                each
                for each in "abc"
                if not balancer._loads.get(each) or not balancer._loads[each].ejected(clock())
            ]
            got = balancer.pick(("a", "b", "c"))
            assert got in sound
            balancer.done(str(got))
