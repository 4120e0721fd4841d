"""The choice of an endpoint."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from slipway.gateway.relay.balancer import EJECT_AFTER, EJECT_FIRST, EJECT_LONGEST, Balancer


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


def fail(balancer: Balancer, address: str) -> None:
    for _ in range(EJECT_AFTER):
        balancer.failed(address)


def test_an_endpoint_that_fails_again_and_again_gets_nothing_while_another_is_sound() -> None:
    clock = Clock()
    ejected: list[str] = []
    balancer = Balancer(clock, 2, on_eject=ejected.append)
    fail(balancer, "a")
    assert ejected == ["a"]
    assert [balancer.pick(("a", "b")) for _ in range(3)] == ["b", "b", None]  # Full is no reason to ask it.
    assert balancer.pick(("a", "b"), {"b"}) == "a"  # With the sound ones tried, it is better than nothing.


def test_a_hundred_requests_that_one_fault_ends_are_one_ejection() -> None:
    clock = Clock()
    ejected: list[str] = []
    balancer = Balancer(clock, 200, on_eject=ejected.append)
    for _ in range(100):
        balancer.failed("a")
    assert ejected == ["a"]
    clock.now = EJECT_FIRST + 0.1
    assert balancer.ejected() == 0


def test_ejections_grow_to_a_bound_and_end_with_an_answer() -> None:
    clock = Clock()
    balancer = Balancer(clock, 10)
    fail(balancer, "a")
    times: list[float] = []
    for _ in range(8):
        began = clock.now
        while balancer.ejected():
            clock.now += 0.5
        times.append(clock.now - began)
        balancer.failed("a")
    assert times[:4] == [EJECT_FIRST, EJECT_FIRST * 2, EJECT_FIRST * 4, EJECT_FIRST * 8]
    assert times[-1] == EJECT_LONGEST
    balancer.answered("a")
    assert balancer.pick(("a", "b")) == "a"
    balancer.failed("a")
    assert balancer.ejected() == 0


def test_with_nothing_sound_left_everything_is_tried() -> None:
    balancer = Balancer(Clock(), 10)
    for address in ("a", "b"):
        fail(balancer, address)
    assert {balancer.pick(("a", "b")) for _ in range(2)} == {"a", "b"}


def test_half_open_lets_one_request_in_and_the_outcome_decides() -> None:
    clock = Clock()
    balancer = Balancer(clock, 10)
    fail(balancer, "a")
    clock.now = EJECT_FIRST + 1
    picks = [balancer.pick(("a", "b")) for _ in range(6)]
    assert picks.count("a") == 1
    balancer.failed("a")
    balancer.done("a")
    assert balancer.pick(("a", "b")) == "b"
    clock.now *= 5
    picks = [balancer.pick(("a", "b")) for _ in range(20)]
    assert picks.count("a") == 1
    balancer.answered("a")
    assert balancer.pick(("a", "b")) == "a"


def test_a_probe_whose_client_left_decides_nothing_and_the_next_request_is_one() -> None:
    clock = Clock()
    balancer = Balancer(clock, 10)
    older = balancer.pick(("a",)), balancer.picks
    fail(balancer, "a")
    clock.now = 100
    assert balancer.pick(("a",)) == "a"
    probe = balancer.picks
    assert balancer.ejected() == 1
    balancer.done("a", older[1])  # Not the probe: it goes on.
    assert balancer.ejected() == 1
    balancer.done("a", probe)
    assert balancer.ejected() == 0
    assert [balancer.pick(("a", "b"), {"b"}) for _ in range(1)] == ["a"]
    assert balancer.ejected() == 1


def test_what_was_held_stays_ejected_until_its_time() -> None:
    clock = Clock()
    balancer = Balancer(clock, 10)
    balancer.hold("a", 50)
    balancer.eject("a")
    balancer.hold("a", 50)
    clock.now = 49
    assert balancer.pick(("a", "b")) == "b"
    clock.now = 51
    assert balancer.ejected() == 0


def test_low_priority_has_a_share_of_its_own() -> None:
    balancer = Balancer(Clock(), 4, low_share=0.5)
    assert [balancer.pick(("a",), low=True) for _ in range(3)] == ["a", "a", None]
    assert [balancer.pick(("a",)) for _ in range(3)] == ["a", "a", None]
    balancer.done("a")
    assert balancer.pick(("a",), low=True) is None
    balancer.done("a", low=True)
    assert balancer.pick(("a",), low=True) == "a"  # Others being there takes none of its share.


def test_only_endpoints_with_work_are_silent_until_they_give_a_sign() -> None:
    clock = Clock()
    balancer = Balancer(clock, 4)
    balancer.pick(("a",))
    balancer.pick(("b",))
    balancer.done("b")
    clock.now = 6
    assert balancer.silent(5) == ["a"]
    balancer.heard("a")
    assert balancer.silent(5) == []
    clock.now = 10
    assert balancer.silence("a") == 4
    assert balancer.silence("b") == 0


def test_an_endpoint_hangs_from_the_first_question_that_it_missed_to_its_next_sign() -> None:
    balancer = Balancer(Clock(), 4)
    assert balancer.missed("a") == 0  # Not an endpoint.
    balancer.pick(("a",))
    assert not balancer.hangs("a")
    assert [balancer.missed("a"), balancer.missed("a")] == [1, 2]
    assert balancer.hangs("a")
    balancer.lives("a")
    assert not balancer.hangs("a")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["pick", "low", "done", "fail", "answer", "eject", "hold", "wait"]),
            st.sampled_from("abc"),
        ),
        max_size=150,
    )
)
def test_whatever_happens_a_ready_endpoint_with_room_is_found_and_counts_hold(
    steps: list[tuple[str, str]],
) -> None:
    clock = Clock()
    balancer = Balancer(clock, 4, low_share=0.5)
    held: list[tuple[str, int, bool]] = []
    """Address, pick, low."""
    probes: dict[str, int] = {}
    """Picks that went to an ejected endpoint while another was sound."""

    def sound() -> set[str]:
        loads = balancer._loads
        return {each for each in "abc" if each not in loads or not loads[each].ejected(clock())}

    for kind, address in steps:
        match kind:
            case "pick" | "low":
                low = kind == "low"
                before = sound()
                got = balancer.pick(("a", "b", "c"), low=low)
                taken = {each: [hold for hold in held if hold[0] == each] for each in "abc"}
                room = {
                    each
                    for each in before or "abc"
                    if len(taken[each]) < 4 and not (low and sum(hold[2] for hold in taken[each]) >= 2)
                }
                assert (got is None) == (not room)
                if got is not None:
                    assert got in room  # Never an ejected one while another is sound.
                    held.append((got, balancer.picks, low))
                    if before and balancer._loads[got].ejections:
                        assert probes.get(got, 0) not in [hold[1] for hold in held[:-1]]  # One at a time.
                        probes[got] = balancer.picks
            case "done":
                for hold in [hold for hold in held if hold[0] == address][:1]:
                    held.remove(hold)
                    balancer.done(hold[0], hold[1], low=hold[2])
            case "fail":
                balancer.failed(address)
            case "answer":
                balancer.answered(address)
                probes.pop(address, None)
                assert address in sound()
            case "eject":
                balancer.eject(address)
            case "hold":
                balancer.hold(address, 5)
            case _:
                clock.now += 3
        for each in "abc":
            assert balancer.outstanding(each) == sum(hold[0] == each for hold in held)
