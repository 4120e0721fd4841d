"""Limits against a naive log of every event, under an injected clock."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.gateway.limits import InProcessLimits, Reservation, Subject, Window, refusal
from slipway.objects import Limits


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class Log:
    """The naive model: every event with its exact time."""

    events: list[tuple[float, int]] = field(default_factory=list)

    def most_in_any_minute(self) -> int:
        return max(
            (sum(n for at, n in self.events if start <= at < start + 60) for start, _ in self.events),
            default=0,
        )


gaps = st.floats(0, 90, allow_nan=False).map(lambda gap: round(gap, 3))


@given(st.lists(st.tuples(gaps, st.integers(1, 5)), max_size=80), st.integers(5, 20))
async def test_never_more_than_the_limit_in_any_60_seconds(
    steps: list[tuple[float, int]], limit: int
) -> None:
    clock, log = Clock(), Log()
    store = InProcessLimits(clock)
    limits = Limits(tokens_per_minute=limit)
    for gap, amount in steps:
        clock.now += gap
        decision = await store.reserve((Subject("k", limits),), amount, 0)
        if decision.reservation is not None:
            log.events.append((clock.now, amount))
    assert log.most_in_any_minute() <= limit


@given(st.lists(st.tuples(gaps, st.integers(1, 5)), max_size=60), st.integers(5, 20))
async def test_nothing_is_refused_that_61_seconds_have_room_for(
    steps: list[tuple[float, int]], limit: int
) -> None:
    """The price of counting in slots: a call counts for at most one second longer than it must."""
    clock, log = Clock(), Log()
    store = InProcessLimits(clock)
    limits = Limits(tokens_per_minute=limit)
    for gap, amount in steps:
        clock.now += gap
        decision = await store.reserve((Subject("k", limits),), amount, 0)
        recent = sum(n for at, n in log.events if at > clock.now - 61)
        assert (decision.reservation is not None) >= (recent + amount <= limit)
        if decision.reservation is not None:
            log.events.append((clock.now, amount))


@given(st.lists(st.tuples(gaps, st.integers(1, 9)), max_size=60), st.integers(9, 20))
async def test_a_refused_call_fits_exactly_when_it_was_told(
    steps: list[tuple[float, int]], limit: int
) -> None:
    clock = Clock()
    store = InProcessLimits(clock)
    limits = Limits(tokens_per_minute=limit, requests_per_minute=7)
    for gap, amount in steps:
        clock.now += gap
        decision = await store.reserve((Subject("k", limits),), amount, 0)
        if decision.reservation is None:
            told_at = clock.now
            assert 0 < decision.retry_after <= 61
            clock.now = told_at + decision.retry_after - 0.002
            if decision.retry_after > 0.01:
                assert (await store.reserve((Subject("k", limits),), amount, 0)).reservation is None
            clock.now = told_at + decision.retry_after + 0.001
            assert (await store.reserve((Subject("k", limits),), amount, 0)).reservation is not None


operations = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), gaps, st.integers(0, 30)),
        st.tuples(st.just("settle"), st.integers(0, 50), st.one_of(st.none(), st.integers(0, 60))),
    ),
    max_size=80,
)


@given(operations)
@settings(max_examples=200)
async def test_settling_puts_the_truth_where_the_estimate_was(
    steps: list[tuple[str, float, int | None]],
) -> None:
    clock = Clock()
    store = InProcessLimits(clock)
    limits = Limits(tokens_per_minute=60, requests_per_minute=10, max_parallel=4)
    counted: list[tuple[int, list[int]]] = []  # second, tokens that count in it
    open_calls: list[tuple[Reservation, list[int]]] = []
    for kind, first, second in steps:
        if kind == "reserve":
            clock.now += float(first)
            assert second is not None
            decision = await store.reserve((Subject("k", limits),), second, 0)
            if decision.reservation is not None:
                tokens = [second]
                counted.append((int(clock.now), tokens))
                open_calls.append((decision.reservation, tokens))
        elif open_calls:
            reservation, tokens = open_calls.pop(int(first) % len(open_calls))
            store.settle(reservation, second, 0)
            store.settle(reservation, 10_000, 0)  # Settling twice changes nothing.
            if second is not None and int(clock.now) - reservation.second <= 60:
                tokens[0] = second
        gauge = (
            await store.reserve((Subject("k", Limits(tokens_per_minute=60, max_parallel=1)),), 61, 0)
        ).tokens
        assert gauge is not None
        true_total = sum(tokens[0] for at, tokens in counted if at >= int(clock.now) - 60)
        assert gauge.remaining == max(0, 60 - true_total)
        assert store._accounts["k"].parallel == len(open_calls)


async def test_a_refusal_consumes_nothing() -> None:
    clock = Clock()
    store = InProcessLimits(clock)
    limits = Limits(requests_per_minute=2, tokens_per_minute=100, max_parallel=1)
    first = await store.reserve((Subject("k", limits),), 10, 0)
    assert first.reservation is not None
    refused = await store.reserve((Subject("k", limits),), 10, 0)
    assert refused.refused_by == "parallel"
    assert (refused.requests, refused.tokens) == (first.requests, first.tokens)
    store.settle(first.reservation, 10, 0)
    for _ in range(3):
        too_much = await store.reserve((Subject("k", limits),), 95, 0)
        assert too_much.refused_by == "tokens"
    assert (await store.reserve((Subject("k", limits),), 90, 0)).reservation is not None


async def test_a_call_larger_than_the_whole_limit_is_told_so() -> None:
    store = InProcessLimits(Clock())
    limits = Limits(tokens_per_minute=100)
    decision = await store.reserve((Subject("k", limits),), 101, 0)
    error = refusal(decision)
    assert (error.status, error.code) == (400, "request_too_large_for_limit")
    assert b"retry-after" not in dict(error.headers)


async def test_keys_do_not_share_what_they_use() -> None:
    store = InProcessLimits(Clock())
    limits = Limits(requests_per_minute=1)
    assert (await store.reserve((Subject("sk-aaaaaaaaaaaaaaaaaaaa1", limits),), 0, 0)).reservation is not None
    assert (await store.reserve((Subject("sk-aaaaaaaaaaaaaaaaaaaa2", limits),), 0, 0)).reservation is not None


async def test_memory_is_bounded_by_what_still_counts() -> None:
    clock = Clock()
    store = InProcessLimits(clock, sweep_above=10)
    limits = Limits(requests_per_minute=1)
    for number in range(1000):
        clock.now += 10
        decision = await store.reserve((Subject(str(number), limits),), 0, 0)
        assert decision.reservation is not None
        store.settle(decision.reservation, 0, 0)
    assert len(store._accounts) <= 20


@given(st.lists(gaps, max_size=300))
def test_a_window_holds_at_most_61_slots(steps: list[float]) -> None:
    window, now = Window(), 0.0
    for gap in steps:
        now += gap / 30
        window.advance(now)
        window.add(now, 1)
        assert len(window._slots) <= 61
        assert window.total == sum(slot.amount for slot in window._slots)


async def test_headers_say_what_is_left() -> None:
    clock = Clock(1000.25)
    store = InProcessLimits(clock)
    decision = await store.reserve((Subject("k", Limits(requests_per_minute=5)),), 0, 0)
    assert dict(decision.headers()) == {
        b"x-ratelimit-limit-requests": b"5",
        b"x-ratelimit-remaining-requests": b"4",
        b"x-ratelimit-reset-requests": b"60.750s",
    }
