"""Counters of one gateway process. They begin anew with it; those of calendar periods are seeded then."""

from collections.abc import Callable
from dataclasses import dataclass, field

from slipway.gateway.errors import APIError
from slipway.gateway.limits.contract import (
    LIMITS,
    PARALLEL_RETRY,
    PERIODS,
    Decision,
    Gauge,
    Level,
    Limit,
    Rates,
    Refusal,
    Reservation,
    Seed,
    Subject,
    never_fits,
    nothing_used,
)
from slipway.gateway.limits.periods import DAY, Periods, ends, periods_at
from slipway.gateway.limits.windows import Window


@dataclass(slots=True)
class _Account:
    """Counters of one subject; those of periods are (number of the period, amount)."""

    requests: Window = field(default_factory=Window)
    tokens: Window = field(default_factory=Window)
    second: int = -1
    """Up to which the windows have let go of what is too old."""
    parallel: int = 0
    counted: dict[Limit, tuple[int, int]] = field(default_factory=dict)
    begun: tuple[Rates, int] | None = None
    """The limits and the day for which all counters of periods are there."""


_Held = tuple[Subject, _Account]


@dataclass(slots=True)
class InProcessLimits:
    """Counts in this process."""

    clock: Callable[[], float]
    """Seconds of a monotonic clock, for the windows."""
    wall: Callable[[], float]
    """Seconds since 1970, for the calendar."""
    seed: Seed = nothing_used
    sweep_above: int = 4096
    """Accounts that are kept before those without anything counted are dropped."""
    _accounts: dict[str, _Account] = field(default_factory=dict)
    _memory: int = 0
    _periods: Periods = field(default_factory=lambda: periods_at(0))

    async def reserve(self, subjects: tuple[Subject, ...], tokens: int, cost: int) -> Decision:
        """See LimitStore.reserve."""
        while True:
            now, wall = self.clock(), self.wall()
            today = self._today(wall)
            held = [(subject, self._account(subject, now)) for subject in subjects]
            new = [
                (subject, account)
                for subject, account in held
                if subject.rates.calendar and not _has_begun(subject.rates, account, today)
            ]
            if not new:
                break
            for subject, account in new:
                await self._begin(subject, account, wall)
        refused = never_fits(subjects, tokens, cost)
        if refused is None and not _fits(held, tokens, cost):
            refused = _refusal(held, tokens, cost, now, wall)
        if refused is not None:
            return Decision(None, refused, *_gauges(held, now))
        second = int(now)
        for subject, account in held:
            rates = subject.rates
            if rates.requests is not None:
                second = account.requests.add(now, 1)
            if rates.tokens is not None:
                second = account.tokens.add(now, tokens)
            account.parallel += 1
            for each in rates.calendar:
                number, used = account.counted[each.limit]
                account.counted[each.limit] = (number, used + (tokens if each.by_tokens else cost))
        reservation = Reservation("", subjects, second, tokens, cost, int(wall), self._memory)
        return Decision(reservation, None, *_gauges(held, now))

    def settle(self, reservation: Reservation, tokens: int | None, cost: int | None) -> None:
        """See LimitStore.settle. Settling twice changes nothing."""
        if reservation.settled:
            return
        reservation.settled = True
        more_tokens = 0 if tokens is None else tokens - reservation.tokens
        more_cost = 0 if cost is None else cost - reservation.cost
        tokens_on, cost_on = more_tokens, more_cost
        if reservation.memory != self._memory:
            tokens_on, cost_on = tokens_on + reservation.tokens, cost_on + reservation.cost
        periods: Periods | None = None
        for subject in reservation.subjects:
            account = self._accounts.get(subject.id)
            if account is None:
                continue
            account.parallel -= 1
            if more_tokens and subject.rates.tokens is not None:
                account.tokens.settle(reservation.second, more_tokens)
            for each in subject.rates.calendar:
                if periods is None:
                    periods = periods_at(reservation.wall)
                number, used = account.counted.get(each.limit, (-1, 0))
                if number == getattr(periods, each.period):
                    account.counted[each.limit] = (number, used + (tokens_on if each.by_tokens else cost_on))

    async def levels(self, subjects: tuple[Subject, ...]) -> list[Level]:
        """See LimitStore.levels."""
        found: list[Level] = []
        for subject in subjects:
            now, wall = self.clock(), self.wall()
            account = self._account(subject, now)
            if not _has_begun(subject.rates, account, self._today(wall)):
                await self._begin(subject, account, wall)
            for limit, amount in zip(LIMITS, subject.rates.values, strict=True):
                if amount is None:
                    continue
                match limit:
                    case "requests_per_minute":
                        used, reset = account.requests.total, wall + account.requests.until_empty(now)
                    case "tokens_per_minute":
                        used, reset = account.tokens.total, wall + account.tokens.until_empty(now)
                    case "max_parallel":
                        found.append(Level(subject, limit, amount, account.parallel, None))
                        continue
                    case _:
                        used, reset = account.counted[limit][1], float(ends(PERIODS[limit], wall))
                found.append(Level(subject, limit, amount, used, reset))
        return found

    def forget_periods(self) -> None:
        """Seed the counters of calendar periods anew: others have counted meanwhile."""
        self._memory += 1
        for account in self._accounts.values():
            account.counted.clear()
            account.begun = None

    def _today(self, wall: float) -> Periods:
        if int(wall) // DAY != self._periods.day:
            self._periods = periods_at(wall)
        return self._periods

    def _account(self, subject: Subject, now: float) -> _Account:
        account = self._accounts.get(subject.id)
        if account is None:
            if len(self._accounts) >= self.sweep_above:
                self._sweep(now)
            account = self._accounts[subject.id] = _Account()
        second = int(now)
        if account.second != second:
            account.second = second
            account.requests.advance(now)
            account.tokens.advance(now)
        return account

    async def _begin(self, subject: Subject, account: _Account, wall: float) -> None:
        """Begin this period's counters with what is recorded."""
        account.parallel += 1  # So that no sweep takes the account away meanwhile.
        try:
            periods = periods_at(wall)
            for each in subject.rates.calendar:
                number = getattr(periods, each.period)
                if account.counted.get(each.limit, (-1, 0))[0] >= number:
                    continue
                try:
                    tokens, cost = await self.seed(subject, each.period, wall)
                except APIError:
                    if account.counted.get(each.limit, (-1, 0))[0] != number - 1:
                        raise
                    tokens, cost = 0, 0  # It has counted all along, so nothing of this period is missing.
                if account.counted.get(each.limit, (-1, 0))[0] < number:
                    account.counted[each.limit] = (number, tokens if each.by_tokens else cost)
        finally:
            account.parallel -= 1

    def _sweep(self, now: float) -> None:
        periods = periods_at(self.wall())
        for name, account in list(self._accounts.items()):
            account.requests.advance(now)
            account.tokens.advance(now)
            counted = any(
                number >= getattr(periods, PERIODS[limit]) for limit, (number, _) in account.counted.items()
            )
            if not (account.parallel or account.requests.total or account.tokens.total or counted):
                del self._accounts[name]
        self.sweep_above = max(self.sweep_above, 2 * len(self._accounts))


def _has_begun(rates: Rates, account: _Account, today: Periods) -> bool:
    """All counters of periods are those of today."""
    begun = account.begun
    if begun is not None and begun[0] is rates and begun[1] == today.day:
        return True
    for each in rates.calendar:
        if account.counted.get(each.limit, (-1, 0))[0] < getattr(today, each.period):
            return False
    account.begun = (rates, today.day)
    return True


def _fits(held: list[_Held], tokens: int, cost: int) -> bool:
    for subject, account in held:
        rates = subject.rates
        if rates.parallel is not None and account.parallel >= rates.parallel:
            return False
        if rates.requests is not None and account.requests.total >= rates.requests:
            return False
        if rates.tokens is not None and account.tokens.total + tokens > rates.tokens:
            return False
        for each in rates.calendar:
            if account.counted[each.limit][1] + (tokens if each.by_tokens else cost) > each.most:
                return False
    return True


def _refusal(held: list[_Held], tokens: int, cost: int, now: float, wall: float) -> Refusal | None:
    """The limit that makes the call wait longest."""
    worst: Refusal | None = None
    wait = 0.0
    for subject, account in held:
        rates = subject.rates
        waits: list[tuple[Limit, float]] = []
        if rates.parallel is not None and account.parallel >= rates.parallel:
            waits.append(("max_parallel", PARALLEL_RETRY))
        if rates.requests is not None:
            waits.append(("requests_per_minute", account.requests.until_fits(now, 1, rates.requests)))
        if rates.tokens is not None:
            waits.append(("tokens_per_minute", account.tokens.until_fits(now, tokens, rates.tokens)))
        waits += [
            (each.limit, ends(each.period, wall) - wall)
            for each in rates.calendar
            if account.counted[each.limit][1] + (tokens if each.by_tokens else cost) > each.most
        ]
        for limit, longer in waits:
            if longer > wait:
                worst, wait = Refusal(subject, limit, longer), longer
    return worst


def _gauges(held: list[_Held], now: float) -> tuple[Gauge | None, Gauge | None]:
    """The tightest of the limits on requests, and of those on tokens."""
    requests: Gauge | None = None
    tokens: Gauge | None = None
    for subject, account in held:
        rates = subject.rates
        if rates.requests is not None:
            gauge = _gauge(account.requests, rates.requests, now)
            if requests is None or gauge.remaining < requests.remaining:
                requests = gauge
        if rates.tokens is not None:
            gauge = _gauge(account.tokens, rates.tokens, now)
            if tokens is None or gauge.remaining < tokens.remaining:
                tokens = gauge
    return requests, tokens


def _gauge(window: Window, limit: int, now: float) -> Gauge:
    return Gauge(limit, max(0, limit - window.total), window.until_empty(now))
