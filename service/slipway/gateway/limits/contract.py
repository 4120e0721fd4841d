"""What all limit stores share: whose limits count, what was decided, what was taken."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from slipway.gateway.errors import Headers
from slipway.objects import Limits
from slipway.objects.money import nano_dollars

Kind = Literal["key", "model", "owner"]
Limit = Literal[
    "requests_per_minute",
    "tokens_per_minute",
    "max_parallel",
    "tokens_per_day",
    "budget_day",
    "budget_week",
    "budget_month",
]
LIMITS: tuple[Limit, ...] = (
    "requests_per_minute",
    "tokens_per_minute",
    "max_parallel",
    "tokens_per_day",
    "budget_day",
    "budget_week",
    "budget_month",
)
"""In the order in which `Rates` and the script in Redis hold them."""
Period = Literal["day", "week", "month"]
PERIODS: dict[Limit, Period] = {
    "tokens_per_day": "day",
    "budget_day": "day",
    "budget_week": "week",
    "budget_month": "month",
}
"""The limits that count in calendar periods."""
SECONDS = 60
PARALLEL_RETRY = 1.0
"""Seconds after which to try again when too many requests are in flight; nobody knows when one ends."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """One of the limits that count in calendar periods."""

    limit: Limit
    period: Period
    most: int
    by_tokens: bool
    """Counts tokens; else nano-dollars."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Limits as they are counted; None does not limit. Money is in nano-dollars."""

    requests: int | None = None
    tokens: int | None = None
    parallel: int | None = None
    tokens_day: int | None = None
    day: int | None = None
    week: int | None = None
    month: int | None = None
    calendar: tuple[Calendar, ...] = field(init=False, compare=False, repr=False)
    """Those of the above that count in calendar periods."""

    def __post_init__(self) -> None:
        calendar = tuple(
            Calendar(limit, PERIODS[limit], most, limit == "tokens_per_day")
            for limit, most in zip(LIMITS, self.values, strict=True)
            if limit in PERIODS and most is not None
        )
        object.__setattr__(self, "calendar", calendar)

    @classmethod
    def of(cls, limits: Limits) -> "Rates":
        """Read an object's limits."""
        budget = limits.budget_usd
        return cls(
            limits.requests_per_minute,
            limits.tokens_per_minute,
            limits.max_parallel,
            limits.tokens_per_day,
            *(
                None if amount is None else nano_dollars(amount)
                for amount in (budget.day, budget.week, budget.month)
            ),
        )

    @property
    def values(self) -> tuple[int | None, ...]:
        """In the order of LIMITS."""
        return (
            self.requests,
            self.tokens,
            self.parallel,
            self.tokens_day,
            self.day,
            self.week,
            self.month,
        )


UNLIMITED = Rates()


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose limits count: a key, a key on one model, or an owner."""

    id: str
    kind: Kind
    name: str
    """The key's or the owner's name."""
    rates: Rates
    model: str | None = None


class Gauge(NamedTuple):
    """One limit as a client sees it."""

    limit: int
    remaining: int
    reset: float
    """Seconds until the full limit is there again."""


@dataclass(frozen=True, slots=True)
class Level:
    """How far a limit is used."""

    subject: Subject
    limit: Limit
    amount: int
    used: int
    resets_at: float | None
    """Seconds since 1970; None where nobody knows (requests in flight)."""


@dataclass(slots=True)
class Reservation:
    """What a call has taken; `settle` it once, when its true token count is known."""

    id: str
    """Of the shared store; "" in this process."""
    subjects: tuple[Subject, ...]
    second: int
    """Slot of the minute windows, by the store's clock."""
    tokens: int
    cost: int
    wall: int
    """Seconds since 1970, by the same clock as the store's calendar."""
    memory: int = 0
    """Names the counters it was taken from: where the store has others now, it has forgotten it."""
    local: bool = False
    """Taken in this process, as the shared store was away."""
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which limit refused a call."""

    subject: Subject
    limit: Limit
    retry_after: float
    """Seconds after which this very call would fit."""
    never_fits: bool = False
    """The call alone is larger than the whole limit."""


class Decision(NamedTuple):
    """The answer to `reserve`: a reservation or a refusal."""

    reservation: Reservation | None
    refusal: Refusal | None = None
    requests: Gauge | None = None
    """The tightest of the limits on requests a minute."""
    tokens: Gauge | None = None
    """The tightest of the limits on tokens a minute."""

    def headers(self) -> Headers:
        """`x-ratelimit-*` of the limits that there are."""
        headers: Headers = []
        for (limit, remaining, reset), gauge in zip(_HEADERS, (self.requests, self.tokens), strict=True):
            if gauge is not None:
                headers += (
                    (limit, b"%d" % gauge.limit),
                    (remaining, b"%d" % gauge.remaining),
                    (reset, b"%.3fs" % gauge.reset),
                )
        return headers


LIMIT_HEADERS = tuple(
    f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")
)
"""The names that `Decision.headers` gives."""
_NAMES = tuple(name.encode() for name in LIMIT_HEADERS)
_HEADERS = (_NAMES[::2], _NAMES[1::2])
"""Those of requests, those of tokens."""

Seed = Callable[[Subject, Period, float], Awaitable[tuple[int, int]]]
"""What a subject has used since a `day`, `week` or `month` began, (tokens, nano-dollars), from the records:
asked where the counter is not there, after a restart or the loss of Redis. The last argument is the time."""


async def nothing_used(subject: Subject, period: Period, seconds: float) -> tuple[int, int]:
    """The seed where nothing is recorded."""
    return 0, 0


class LimitStore(Protocol):
    """Where the counters live: in this process, or in a store that several gateways share."""

    async def reserve(self, subjects: tuple[Subject, ...], tokens: int, cost: int) -> Decision:
        """Take a request, its estimated tokens and cost, a place in flight, of all; or nothing, and refuse.

        Raises APIError 503 where that cannot be decided now.
        """
        ...

    def settle(self, reservation: Reservation, tokens: int | None, cost: int | None) -> None:
        """The call has used this (None: unknown, the estimate stays); frees its place. Never waits."""
        ...

    async def levels(self, subjects: tuple[Subject, ...]) -> list[Level]:
        """How far all limits are used. Raises APIError 503."""
        ...


def never_fits(subjects: tuple[Subject, ...], tokens: int, cost: int) -> Refusal | None:
    """The first limit that the call alone exceeds, however long it waits."""
    for subject in subjects:
        rates = subject.rates
        if rates.tokens is not None and tokens > rates.tokens:
            return Refusal(subject, "tokens_per_minute", 0.0, never_fits=True)
        for each in rates.calendar:
            if (tokens if each.by_tokens else cost) > each.most:
                return Refusal(subject, each.limit, 0.0, never_fits=True)
    return None


def tightest(gauges: list[Gauge]) -> Gauge | None:
    """The gauge with the least left."""
    return min(gauges, key=lambda gauge: gauge.remaining, default=None)
