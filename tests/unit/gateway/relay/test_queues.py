"""Who is served next when all endpoints are full."""

from collections import Counter
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.gateway.relay.queues import CLASSES, SHARE, FairQueue, Place, Turn

HIGH, NORMAL, LOW = range(3)


def next_of(queue: FairQueue[str], give: Callable[[str], Turn] = lambda item: Turn.TAKEN) -> str | None:
    """Whose turn it is, and who takes it."""
    taken: list[str] = []

    def offer(item: str) -> Turn:
        turn = give(item)
        if turn is Turn.TAKEN:
            taken.append(item)
        return turn

    assert queue.serve(offer) == bool(taken)
    assert len(taken) <= 1
    return taken[0] if taken else None


def served(queue: FairQueue[str]) -> list[str]:
    found: list[str] = []
    while (item := next_of(queue)) is not None:
        found.append(item)
    return found


def test_a_key_with_a_thousand_delays_another_by_one() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(1000):
        queue.join("greedy", NORMAL, f"greedy-{number}")
    assert queue.ahead("modest", NORMAL) == 1
    assert queue.ahead("greedy", NORMAL) == 1000
    queue.join("modest", NORMAL, "modest")
    assert "modest" in served(queue)[:2]


def test_a_key_that_waited_before_gains_no_credit_by_absence() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(50):
        queue.join("a", NORMAL, f"a{number}")
    for _ in range(40):
        next_of(queue)
    for number in range(20):
        queue.join("b", NORMAL, f"b{number}")
    first = served(queue)[:10]
    assert 4 <= sum(each.startswith("a") for each in first) <= 6


def test_a_key_whose_crowd_left_is_not_put_behind_for_it() -> None:
    queue: FairQueue[str] = FairQueue()
    for place in [queue.join("a", NORMAL, "old") for _ in range(500)]:
        queue.leave(place)
    for number in range(20):
        queue.join("b", NORMAL, f"b{number}")
    for place in [queue.join("a", NORMAL, "old") for _ in range(500)]:
        queue.leave(place)
    queue.join("a", NORMAL, "new")
    assert "new" in served(queue)[:2]


def test_coming_back_at_once_gives_no_second_turn_in_a_round() -> None:
    queue: FairQueue[str] = FairQueue()
    for key in "abc":
        queue.join(key, NORMAL, key)
    order: list[str] = []
    for _ in range(30):
        item = next_of(queue)
        assert item is not None
        order.append(item)
        queue.join(item, NORMAL, item)
    assert Counter(order) == {"a": 10, "b": 10, "c": 10}


def test_two_keys_that_come_back_at_once_do_not_keep_a_third_waiting() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(10):
        queue.join("steady", NORMAL, "steady")
    assert next_of(queue) == "steady"
    queue.join("a", NORMAL, "a")
    assert next_of(queue) == "steady"  # Its next round has begun already.
    queue.join("b", NORMAL, "b")
    order: list[str] = []
    for _ in range(12):
        item = next_of(queue)
        assert item is not None
        order.append(item)
        if item != "steady":
            queue.join(item, NORMAL, item)
    assert Counter(order) == {"steady": 4, "a": 4, "b": 4}


def test_higher_classes_go_first_and_lower_ones_do_not_starve() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(100):
        queue.join("batch", LOW, "low")
        queue.join("user", NORMAL, "normal")
        queue.join("boss", HIGH, "high")
    order = served(queue)
    assert order[: SHARE - 1] == ["high"] * (SHARE - 1)
    assert {order[SHARE - 1], order[2 * SHARE - 1]} == {"low", "normal"}
    assert Counter(order) == {"low": 100, "normal": 100, "high": 100}


def test_one_that_cannot_be_served_keeps_its_place_and_holds_up_nobody() -> None:
    queue: FairQueue[str] = FairQueue()
    for item in ("picky", "easy", "other"):
        queue.join(item, NORMAL, item)
    assert next_of(queue, lambda item: Turn.NOT_THIS if item == "picky" else Turn.TAKEN) == "easy"
    assert served(queue) == ["picky", "other"]


def test_a_class_that_has_no_room_holds_up_no_other() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.join("batch", LOW, "low")
    queue.join("user", NORMAL, "normal")
    for _ in range(SHARE):  # The turn of the lower classes is among these.
        queue.join("user", NORMAL, "more")
        assert next_of(queue, lambda item: Turn.NOT_THIS_CLASS if item == "low" else Turn.TAKEN)
    assert "low" in served(queue)


def test_the_youngest_of_the_lowest_class_makes_room() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.join("a", LOW, "low-1")
    youngest = queue.join("b", LOW, "low-2")
    queue.join("a", NORMAL, "normal")
    assert queue.victim("c", NORMAL) is youngest
    assert queue.leave(youngest)
    assert not queue.leave(youngest)
    found = queue.victim("c", HIGH)
    assert found is not None
    assert found.item == "low-1"
    assert queue.victim("c", LOW) is None


def test_the_key_with_most_waiting_makes_room_for_one_with_less() -> None:
    queue: FairQueue[str] = FairQueue()
    places = [queue.join("greedy", NORMAL, f"g{number}") for number in range(3)]
    queue.join("modest", NORMAL, "m")
    assert queue.victim("new", NORMAL) is places[-1]
    assert queue.victim("modest", NORMAL) is places[-1]
    assert queue.victim("greedy", NORMAL) is None
    queue.leave(places[-1])
    assert (
        queue.victim("modest", NORMAL) is None
    )  # They have as many; turning one away for the other helps nobody.


steps = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.sampled_from("abcd"), st.integers(0, 2)),
        st.tuples(st.sampled_from(["serve", "gone", "picky", "leave"]), st.just(""), st.integers(0, 50)),
    ),
    max_size=150,
)


@given(steps)
@settings(max_examples=300)
def test_nobody_is_lost_or_served_twice(script: list[tuple[str, str, int]]) -> None:
    queue: FairQueue[int] = FairQueue()
    waiting: dict[int, Place[int]] = {}
    number = 0
    for kind, key, value in script:
        if kind == "join":
            number += 1
            waiting[number] = queue.join(key, value, number)
        elif kind == "leave" and waiting:
            item = sorted(waiting)[value % len(waiting)]
            place = waiting.pop(item)
            assert queue.leave(place)
            assert not queue.leave(place)
        elif kind in ("serve", "gone", "picky"):
            offered: set[int] = set()

            def give(item: int, kind: str = kind, value: int = value, offered: set[int] = offered) -> Turn:
                assert item in waiting
                assert item not in offered
                offered.add(item)
                if kind == "picky" and item % 3 == value % 3:
                    return Turn.NOT_THIS
                del waiting[item]
                return Turn.GONE if kind == "gone" and item % 2 == value % 2 else Turn.TAKEN

            before = set(waiting)
            some = queue.serve(give)
            assert some == any(kind != "gone" or item % 2 != value % 2 for item in before - set(waiting))
            if not some:
                assert offered == before  # Everybody was asked before nobody was served.
        assert len(queue) == len(waiting)
        assert {place.item for place in queue} == set(waiting)
        for each in "abcd":
            assert queue.of_key(each) == sum(place.key == each for place in waiting.values())
        for group in queue._classes:
            assert group.size == 0 or group.this  # Somebody's turn is next.
            assert group.size > 0 or not group.had  # Nothing is remembered of keys that may never come again.


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["join", "serve", "leave"])), max_size=300))
def test_while_a_key_waits_no_other_of_its_class_has_two_turns_more(script: list[tuple[str, str]]) -> None:
    queue: FairQueue[str] = FairQueue()
    places: dict[str, list[Place[str]]] = {key: [] for key in "abc"}
    turns: dict[tuple[str, str], int] = {}
    """(who waits, who was served): turns of the second since the first began to wait or had one itself."""
    for key, kind in script:
        if kind == "join":
            places[key].append(queue.join(key, NORMAL, key))
        elif kind == "leave" and places[key]:
            queue.leave(places[key].pop())
        elif kind == "serve" and (item := next_of(queue)) is not None:
            places[item].pop(0)
            for other in "abc":
                if other != item and places[other]:
                    turns[other, item] = turns.get((other, item), 0) + 1
                    assert turns[other, item] <= 2
                turns.pop((item, other), None)
        for pair in [pair for pair in turns if not places[pair[0]]]:
            del turns[pair]


def test_the_classes_are_those_of_the_objects() -> None:
    assert CLASSES == ("high", "normal", "low")
