"""Who is served next when all endpoints are full."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.gateway.relay.queues import CLASSES, SHARE, FairQueue, Place

HIGH, NORMAL, LOW = range(3)


def served(queue: FairQueue[str]) -> list[str]:
    found: list[str] = []
    while (place := queue.next()) is not None:
        found.append(place.item)
    return found


def test_a_key_with_a_thousand_delays_another_by_one() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(1000):
        queue.join("greedy", NORMAL, f"greedy-{number}")
    queue.join("modest", NORMAL, "modest")
    assert "modest" in served(queue)[:2]


def test_a_key_that_waited_before_gains_no_credit_by_absence() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(50):
        queue.join("a", NORMAL, f"a{number}")
    for _ in range(40):
        queue.next()
    for number in range(20):
        queue.join("b", NORMAL, f"b{number}")
    first = served(queue)[:10]
    assert 4 <= sum(each.startswith("a") for each in first) <= 6


def test_higher_classes_go_first_and_lower_ones_do_not_starve() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(100):
        queue.join("batch", LOW, "low")
        queue.join("user", NORMAL, "normal")
        queue.join("boss", HIGH, "high")
    order = served(queue)
    assert order[: SHARE - 1] == ["high"] * (SHARE - 1)
    assert order[SHARE - 1] == "low"
    assert Counter(order) == {"low": 100, "normal": 100, "high": 100}


def test_the_youngest_of_the_lowest_class_goes_where_there_is_no_room() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.join("a", LOW, "low-1")
    youngest = queue.join("a", LOW, "low-2")
    queue.join("a", NORMAL, "normal")
    assert queue.youngest_below(NORMAL) is youngest
    assert queue.leave(youngest)
    assert not queue.leave(youngest)
    assert queue.youngest_below(LOW) is None
    found = queue.youngest_below(HIGH)
    assert found is not None
    assert found.item == "low-1"


steps = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.sampled_from("abcd"), st.integers(0, 2)),
        st.tuples(st.sampled_from(["next", "leave", "back"]), st.just(""), st.integers(0, 50)),
    ),
    max_size=120,
)


@given(steps)
@settings(max_examples=300)
def test_nobody_is_lost_or_served_twice(script: list[tuple[str, str, int]]) -> None:
    queue: FairQueue[int] = FairQueue()
    waiting: dict[int, Place[int]] = {}
    taken: list[Place[int]] = []
    number = 0
    for kind, key, value in script:
        if kind == "join":
            number += 1
            waiting[number] = queue.join(key, value, number)
        elif kind == "next":
            place = queue.next()
            assert (place is None) == (not waiting)
            if place is not None:
                del waiting[place.item]
                taken.append(place)
        elif kind == "leave" and waiting:
            item = sorted(waiting)[value % len(waiting)]
            assert queue.leave(waiting.pop(item))
        elif kind == "back" and taken:
            place = taken.pop(value % len(taken))
            queue.back(place)
            waiting[place.item] = place
        assert len(queue) == len(waiting)
        for each in "abcd":
            assert queue.of_key(each) == sum(place.key == each for place in waiting.values())
        assert queue.ahead(LOW) == len(waiting)
    rest = 0
    while queue.next() is not None:
        rest += 1
    assert rest == len(waiting)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=200))
def test_while_two_keys_wait_neither_is_more_than_one_ahead(script: list[tuple[str, bool]]) -> None:
    queue: FairQueue[str] = FairQueue()
    for key in "abc":
        for _ in range(250):
            queue.join(key, NORMAL, key)
    counts: Counter[str] = Counter()
    for key, take in script:
        queue.join(key, NORMAL, key)
        if take:
            place = queue.next()
            assert place is not None
            counts[place.item] += 1
            assert max(counts[each] for each in "abc") - min(counts[each] for each in "abc") <= 1


def test_the_classes_are_those_of_the_objects() -> None:
    assert CLASSES == ("high", "normal", "low")
