"""How much a key may use: requests and tokens in any 60 seconds, requests in flight.

A window counts in slots of one second. What is asked for enters the slot of its second and stays for the
sixty slots after it, so that never more than the limit falls into any 60 seconds, wherever they begin.
All limits of a call are decided at once: if one refuses, nothing is consumed.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from typing import Protocol

from slipway.gateway.auth import Key
from slipway.gateway.errors import APIError, Headers, retry_after
from slipway.objects import Limits

SECONDS = 60
PARALLEL_RETRY = 1.0
"""Seconds after which to try again when too many requests are in flight; nobody knows when one ends."""


@dataclass(slots=True)
class Slot:
    """What was asked for in one second."""

    second: int
    amount: int


class Window:
    """A sliding sum over the current second and the sixty before it. At most 61 slots of memory."""

    __slots__ = ("_slots", "total")

    def __init__(self) -> None:
        self._slots: deque[Slot] = deque()
        self.total = 0

    def advance(self, now: float) -> None:
        """Let go of what has left the window by `now` (seconds of a clock that never goes back)."""
        oldest = int(now) - SECONDS
        while self._slots and self._slots[0].second < oldest:
            self.total -= self._slots.popleft().amount

    def add(self, now: float, amount: int) -> int:
        """Count `amount` in the slot of `now`; returns the slot's second, for `settle`."""
        second = int(now)
        if self._slots and self._slots[-1].second >= second:
            self._slots[-1].amount += amount
            second = self._slots[-1].second
        else:
            self._slots.append(Slot(second, amount))
        self.total += amount
        return second

    def settle(self, second: int, difference: int) -> None:
        """Correct what was counted in a slot; one that has left the window needs no correction."""
        for slot in reversed(self._slots):
            if slot.second == second:
                slot.amount += difference
                self.total += difference
                return
            if slot.second < second:
                return

    def until_fits(self, now: float, amount: int, limit: int) -> float:
        """Seconds until `amount` more fits under `limit`, which is at least `amount`; 0 if it does now."""
        excess = self.total + amount - limit
        if excess <= 0:
            return 0.0
        for slot in self._slots:
            excess -= slot.amount
            if excess <= 0:
                return max(0.001, slot.second + SECONDS + 1 - now)
        return float(SECONDS + 1)

    def until_empty(self, now: float) -> float:
        """Seconds until nothing counts any more."""
        if not self._slots or not self.total:
            return 0.0
        return max(0.0, self._slots[-1].second + SECONDS + 1 - now)


@dataclass(frozen=True, slots=True)
class Gauge:
    """One limit as a client sees it."""

    limit: int
    remaining: int
    reset: float
    """Seconds until the full limit is there again."""


@dataclass(slots=True)
class Reservation:
    """What a call has taken; `settle` it once, when its true token count is known."""

    key: str
    second: int
    tokens: int
    counts_tokens: bool
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to `reserve`."""

    limits: Limits
    reservation: Reservation | None
    """None: refused."""
    requests: Gauge | None
    tokens: Gauge | None
    refused_by: str | None = None
    """`requests`, `tokens` or `parallel`."""
    retry_after: float = 0.0
    """Seconds after which this very call would fit."""
    never_fits: bool = False
    """The call alone is larger than the whole token limit."""

    def headers(self) -> Headers:
        """`x-ratelimit-*` of the limits that the key has."""
        headers: Headers = []
        for name, gauge in ((b"requests", self.requests), (b"tokens", self.tokens)):
            if gauge is not None:
                headers.append((b"x-ratelimit-limit-" + name, b"%d" % gauge.limit))
                headers.append((b"x-ratelimit-remaining-" + name, b"%d" % gauge.remaining))
                headers.append((b"x-ratelimit-reset-" + name, b"%.3fs" % gauge.reset))
        return headers


LIMIT_HEADERS = tuple(
    f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")
)
"""The names that `Decision.headers` gives."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose limits count."""

    id: str
    limits: Limits


def subjects_of(key: Key, model: str, snapshot: object) -> tuple[Subject, ...]:
    """All whose limits count for a call."""
    limits = key.limits
    if limits.tokens_per_minute is limits.requests_per_minute is limits.max_parallel is None:
        return ()
    return (Subject(f"key/{key.name}", limits),)


class LimitStore(Protocol):
    """Where the counters live: in this process, or in a store that several gateways share."""

    async def reserve(self, subjects: tuple[Subject, ...], tokens: int, cost: int) -> Decision:
        """Take one request, its estimated tokens and a place in flight; or refuse and take nothing."""
        ...

    def settle(self, reservation: Reservation, tokens: int | None, cost: int | None) -> None:
        """The call has ended with `tokens` used (None: unknown, the estimate stays); frees its place."""
        ...


@dataclass(slots=True)
class _Account:
    requests: Window = field(default_factory=Window)
    tokens: Window = field(default_factory=Window)
    parallel: int = 0


@dataclass(slots=True)
class InProcessLimits:
    """Counters of one gateway process."""

    clock: Callable[[], float]
    """Seconds of a monotonic clock."""
    sweep_above: int = 4096
    """Accounts that are kept before those without anything counted are dropped."""
    _accounts: dict[str, _Account] = field(default_factory=dict)

    async def reserve(self, subjects: tuple[Subject, ...], tokens: int, cost: int) -> Decision:
        """See LimitStore.reserve."""
        key, limits = subjects[0].id, subjects[0].limits
        now = self.clock()
        account = self._accounts.get(key)
        if account is None:
            if len(self._accounts) >= self.sweep_above:
                self._sweep(now)
            account = self._accounts[key] = _Account()
        account.requests.advance(now)
        account.tokens.advance(now)
        refused_by: str | None = None
        wait = 0.0
        most = limits.tokens_per_minute
        if most is not None and tokens > most:
            return self._decision(account, limits, now, None, "tokens", 0.0, never_fits=True)
        if limits.max_parallel is not None and account.parallel >= limits.max_parallel:
            refused_by, wait = "parallel", PARALLEL_RETRY
        if limits.requests_per_minute is not None:
            longer = account.requests.until_fits(now, 1, limits.requests_per_minute)
            if longer > wait:
                refused_by, wait = "requests", longer
        if most is not None:
            longer = account.tokens.until_fits(now, tokens, most)
            if longer > wait:
                refused_by, wait = "tokens", longer
        if refused_by is not None:
            return self._decision(account, limits, now, None, refused_by, wait)
        second = int(now)
        if limits.requests_per_minute is not None:
            second = account.requests.add(now, 1)
        if most is not None:
            second = account.tokens.add(now, tokens)
        account.parallel += 1
        reservation = Reservation(key, second, tokens, most is not None)
        return self._decision(account, limits, now, reservation, None, 0.0)

    def settle(self, reservation: Reservation, tokens: int | None, cost: int | None) -> None:
        """See LimitStore.settle. Settling twice changes nothing."""
        account = self._accounts.get(reservation.key)
        if account is None or reservation.settled:
            return
        reservation.settled = True
        account.parallel -= 1
        if reservation.counts_tokens and tokens is not None and tokens != reservation.tokens:
            account.tokens.settle(reservation.second, tokens - reservation.tokens)

    @staticmethod
    def _decision(
        account: _Account,
        limits: Limits,
        now: float,
        reservation: Reservation | None,
        refused_by: str | None,
        wait: float,
        *,
        never_fits: bool = False,
    ) -> Decision:
        return Decision(
            limits=limits,
            reservation=reservation,
            requests=_gauge(account.requests, limits.requests_per_minute, now),
            tokens=_gauge(account.tokens, limits.tokens_per_minute, now),
            refused_by=refused_by,
            retry_after=wait,
            never_fits=never_fits,
        )

    def _sweep(self, now: float) -> None:
        for key, account in list(self._accounts.items()):
            account.requests.advance(now)
            account.tokens.advance(now)
            if not (account.parallel or account.requests.total or account.tokens.total):
                del self._accounts[key]
        self.sweep_above = max(self.sweep_above, 2 * len(self._accounts))


def _gauge(window: Window, limit: int | None, now: float) -> Gauge | None:
    if limit is None:
        return None
    return Gauge(limit, max(0, limit - window.total), window.until_empty(now))


def refusal(decision: Decision) -> APIError:
    """The error answer for a refused call."""
    limits = decision.limits
    headers = decision.headers()
    if decision.never_fits:
        return APIError(
            400,
            "request_too_large_for_limit",
            f"This request asks for more tokens than the key's limit of "
            f"{limits.tokens_per_minute} a minute ever lets through. Shorten the prompt or lower max_tokens.",
            headers=headers,
        )
    seconds = max(1, ceil(decision.retry_after))
    again = f"Try again in {seconds} second{'s' if seconds != 1 else ''}."
    what = {
        "requests": f"This key may make {limits.requests_per_minute} requests a minute. {again}",
        "tokens": f"This key may use {limits.tokens_per_minute} tokens a minute. {again}",
        "parallel": f"This key may have {limits.max_parallel} requests in flight. Wait until one ends.",
    }[decision.refused_by or "requests"]
    return APIError(
        429,
        "rate_limit_exceeded",
        what,
        kind=decision.refused_by,
        headers=[*headers, *retry_after(decision.retry_after)],
    )
