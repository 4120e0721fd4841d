"""What every limit store must keep, against a model that remembers each event; used for both stores."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import strategies as st

from slipway.gateway.errors import APIError
from slipway.gateway.limits import LimitStore, Rates, Reservation, Subject
from slipway.gateway.limits.contract import LIMITS, PERIODS, Seed

BEGIN = datetime(2024, 2, 28, 23, 58, 20, tzinfo=UTC).timestamp()
"""A minute and a half before a leap day."""


class Clock:
    """Seconds since 1970, in whole microseconds as Redis has them."""

    def __init__(self, now: float = BEGIN) -> None:
        self.micro = round(now * 1_000_000)

    @property
    def now(self) -> float:
        return self.micro / 1_000_000

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.micro += round(seconds * 1_000_000)


Make = Callable[[Clock], Awaitable[LimitStore]]


@dataclass
class Call:
    """One call that was let through, as the model remembers it."""

    second: int
    tokens: int
    cost: int
    day: str
    week: str
    month: str
    open: bool = True


@dataclass
class Model:
    """Remembers every call for ever and sums anew for each question."""

    calls: dict[str, list[Call]] = field(default_factory=dict)

    def used(self, subject: Subject, now: float) -> tuple[int, ...]:
        """In the order of LIMITS."""
        calls = self.calls.get(subject.id, [])
        recent = [call for call in calls if call.second >= int(now) - 60]
        day, week, month = names(now)
        return (
            len(recent),
            sum(call.tokens for call in recent),
            sum(call.open for call in calls),
            sum(call.tokens for call in calls if call.day == day),
            sum(call.cost for call in calls if call.day == day),
            sum(call.cost for call in calls if call.week == week),
            sum(call.cost for call in calls if call.month == month),
        )

    def fits(self, subjects: tuple[Subject, ...], tokens: int, cost: int, now: float) -> bool:
        asked = (1, tokens, 1, tokens, cost, cost, cost)
        return all(
            most is None or used + more <= most
            for subject in subjects
            for most, used, more in zip(subject.rates.values, self.used(subject, now), asked, strict=True)
        )

    def take(self, subjects: tuple[Subject, ...], tokens: int, cost: int, now: float) -> Call:
        call = Call(int(now), tokens, cost, *names(now))
        for subject in subjects:
            self.calls.setdefault(subject.id, []).append(call)
        return call


def names(now: float) -> tuple[str, str, str]:
    """The day, week and month of a moment, by the calendar of the standard library."""
    at = datetime.fromtimestamp(int(now), UTC)
    year, week, _ = at.isocalendar()
    return f"{at:%Y-%m-%d}", f"{year}-{week}", f"{at:%Y-%m}"


few = st.one_of(st.none(), st.integers(1, 12))
rates = st.builds(
    Rates,
    requests=few,
    tokens=st.one_of(st.none(), st.integers(5, 60)),
    parallel=st.one_of(st.none(), st.integers(1, 4)),
    tokens_day=st.one_of(st.none(), st.integers(20, 200)),
    day=st.one_of(st.none(), st.integers(20, 200)),
    week=st.one_of(st.none(), st.integers(40, 400)),
    month=st.one_of(st.none(), st.integers(60, 600)),
)
KEY, MODEL, OWNER = "key/k", "key/k/model/m", "owner/o"
subjects = st.lists(
    st.one_of(
        st.builds(Subject, st.just(KEY), st.just("key"), st.just("k"), rates),
        st.builds(Subject, st.just(MODEL), st.just("model"), st.just("k"), rates, st.just("m")),
        st.builds(Subject, st.just(OWNER), st.just("owner"), st.just("o"), rates),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda subject: subject.id,
).map(tuple)
gaps = st.one_of(
    st.just(0.0),
    st.floats(0, 5).map(lambda gap: round(gap, 3)),
    st.floats(50, 70).map(lambda gap: round(gap, 3)),
    st.sampled_from([3600.0, 86_400.0, 3 * 86_400.0, 9 * 86_400.0]),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), gaps, st.integers(0, 20), st.integers(0, 30)),
        st.tuples(st.just("settle"), st.integers(0, 30), st.integers(0, 40), st.integers(0, 60)),
        st.tuples(st.just("give up"), st.integers(0, 30), st.just(0), st.just(0)),
    ),
    max_size=40,
)
Step = tuple[str, float, int, int]


async def behaves_as_the_model(make: Make, asked: tuple[Subject, ...], script: list[Step]) -> None:
    """Let through exactly what the model lets through; count exactly what it counts; tell the true wait."""
    clock, model = Clock(), Model()
    store = await make(clock)
    open_calls: list[tuple[Reservation, Call]] = []
    for kind, first, tokens, cost in script:
        if kind == "reserve":
            clock.advance(first)
            decision = await store.reserve(asked, tokens, cost)
            assert (decision.reservation is not None) == model.fits(asked, tokens, cost, clock.now)
            if decision.reservation is not None:
                open_calls.append((decision.reservation, model.take(asked, tokens, cost, clock.now)))
            elif decision.refusal is not None and not decision.refusal.never_fits:
                assert 0 < decision.refusal.retry_after <= 32 * 86_400
        elif open_calls:
            reservation, call = open_calls.pop(int(first) % len(open_calls))
            call.open = False
            if kind == "give up":
                store.settle(reservation, None, None)
            else:
                store.settle(reservation, tokens, cost)
                call.tokens, call.cost = tokens, cost
            store.settle(reservation, 10_000, 10_000)  # Settling twice changes nothing.
        for level in await store.levels(asked):
            expected = model.used(level.subject, clock.now)[LIMITS.index(level.limit)]
            assert level.used == expected, level
            if level.limit in PERIODS:
                assert level.resets_at is not None
                assert names(level.resets_at) != names(clock.now)


async def tells_when_it_fits(make: Make, asked: tuple[Subject, ...], script: list[Step]) -> None:
    """A refused call fits when it was told and not a moment before, if nothing else is asked meanwhile."""
    clock, model = Clock(), Model()
    store = await make(clock)
    for kind, gap, tokens, cost in script:
        if kind != "reserve":
            continue
        clock.advance(gap)
        decision = await store.reserve(asked, tokens, cost)
        if decision.reservation is not None:
            model.take(asked, tokens, cost, clock.now)
        elif (refused := decision.refusal) is not None and not refused.never_fits:
            if refused.limit == "max_parallel":
                return
            clock.advance(refused.retry_after - 0.001)
            assert not model.fits(asked, tokens, cost, clock.now)
            clock.advance(0.002)
            again = await store.reserve(asked, tokens, cost)
            waits_for = again.refusal.limit if again.refusal is not None else None
            assert waits_for in (None, "max_parallel")
            return


async def tells_when_a_period_ends(make: Make, begin: float, rates: Rates, seconds: int) -> None:
    """A budget that is used up at `begin` is there again after so many seconds, and not before."""
    clock = Clock(begin)
    store, subject = await make(clock), (Subject(KEY, "key", "k", rates),)
    assert (await store.reserve(subject, 0, 10)).reservation is not None
    refused = (await store.reserve(subject, 0, 10)).refusal
    assert refused is not None
    assert round(refused.retry_after, 3) == seconds
    clock.advance(seconds - 0.001)
    assert (await store.reserve(subject, 0, 10)).reservation is None
    clock.advance(0.001)
    assert (await store.reserve(subject, 0, 10)).reservation is not None


def at(text: str) -> float:
    """Seconds since 1970 of a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


DAY = 86_400
PERIOD_ENDS = [
    (at("2024-02-28 12:00"), Rates(day=10), DAY // 2),
    (at("2024-02-29 00:00"), Rates(day=10), DAY),
    (at("2024-02-25 23:59:59"), Rates(week=10), 1),  # A Sunday.
    (at("2024-02-26 00:00"), Rates(week=10), 7 * DAY),
    (at("2024-12-30 12:00"), Rates(week=10), 6 * DAY + DAY // 2),
    (at("2024-02-01 00:00"), Rates(month=10), 29 * DAY),
    (at("2023-02-28 12:00"), Rates(month=10), DAY // 2),
    (at("2024-12-31 23:59:00"), Rates(month=10), 60),
    (at("2025-01-03 00:00"), Rates(month=10), 29 * DAY),
    (at("2024-04-15 00:00"), Rates(month=10), 16 * DAY),
]
"""When, which budget, and how long until it is there again."""


def counting_seed(asked: dict[str, int]) -> Seed:
    """(50, 500) always, counted under `seeds`; as if the database were away where there is `away`."""

    async def seed(subject: Subject, period: str, now: float) -> tuple[int, int]:
        if "away" in asked:
            raise APIError(503, "database_unavailable", "The database is away.")
        asked["seeds"] += 1
        return 50, 500

    return seed


MakeSeeded = Callable[[Clock, Seed], Awaitable[LimitStore]]


async def seeds_once(make_seeded: MakeSeeded) -> None:
    """Calendar counters begin with what is recorded, each period once."""
    clock, asked = Clock(), {"seeds": 0}
    store = await make_seeded(clock, counting_seed(asked))
    subject = Subject(KEY, "key", "k", Rates(tokens_day=100, day=1000))
    for expected in (60, 70):
        decision = await store.reserve((subject,), 10, 1)
        assert decision.reservation is not None
        used = {level.limit: level.used for level in await store.levels((subject,))}
        assert used["tokens_per_day"] == expected
    assert asked["seeds"] == 2
    clock.advance(timedelta(days=1).total_seconds())
    await store.reserve((subject,), 10, 1)
    assert asked["seeds"] == 4


async def goes_on_without_records(make_seeded: MakeSeeded) -> None:
    """Where records cannot be read, a counter that was there all along begins with 0; another is refused."""
    clock, asked = Clock(), {"seeds": 0}
    store = await make_seeded(clock, counting_seed(asked))
    day = Subject(KEY, "key", "k", Rates(day=1000))
    month = Subject(KEY, "key", "k", Rates(day=1000, month=1000))
    await store.reserve((day,), 10, 1)
    asked["away"] = 1
    clock.advance(timedelta(days=1).total_seconds())
    assert (await store.reserve((day,), 10, 7)).reservation is not None
    assert [level.used for level in await store.levels((day,))] == [7]
    with pytest.raises(APIError):
        await store.reserve((month,), 10, 1)
    clock.advance(timedelta(days=2).total_seconds())
    with pytest.raises(APIError):
        await store.reserve((day,), 10, 1)
    del asked["away"]
    assert (await store.reserve((month,), 10, 1)).reservation is not None
    assert [level.used for level in await store.levels((month,))] == [501, 501]
