"""Counters of one gateway process. They begin anew with it; those of calendar periods are seeded then."""

from collections.abc import Callable
from dataclasses import dataclass, field

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
    tightest,
)
from slipway.gateway.limits.periods import Periods, ends, periods_at
from slipway.gateway.limits.windows import Window


@dataclass(slots=True)
class _Account:
    """Counters of one subject; those of periods are (number of the period, amount)."""

    requests: Window = field(default_factory=Window)
    tokens: Window = field(default_factory=Window)
    parallel: int = 0
    counted: dict[Limit, tuple[int, int]] = field(default_factory=dict)


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

    async def reserve(self, subjects: tuple[Subject, ...], tokens: int, cost: int) -> Decision:
        """See LimitStore.reserve."""
        now, wall = self.clock(), self.wall()
        periods = periods_at(wall)
        for subject in subjects:
            if _unseeded(subject.rates, self._account(subject, now), periods):
                await self._seed(subject, self._account(subject, now), wall)
                now = self.clock()
        accounts = [self._account(subject, now) for subject in subjects]
        too_large = never_fits(subjects, tokens, cost)
        if too_large is not None:
            return self._decision(subjects, accounts, now, None, too_large)
        refused = self._refusal(subjects, accounts, tokens, cost, now, wall)
        if refused is not None:
            return self._decision(subjects, accounts, now, None, refused)
        second = int(now)
        for subject, account in zip(subjects, accounts, strict=True):
            rates = subject.rates
            if rates.requests is not None:
                second = account.requests.add(now, 1)
            if rates.tokens is not None:
                second = account.tokens.add(now, tokens)
            account.parallel += 1
            for limit, amount in _amounts(rates, tokens, cost):
                number, used = account.counted[limit]
                account.counted[limit] = (number, used + amount)
        reservation = Reservation(
            "", subjects, second, tokens, cost, periods.day, periods.week, periods.month
        )
        return self._decision(subjects, accounts, now, reservation, None)

    def settle(self, reservation: Reservation, tokens: int | None, cost: int | None) -> None:
        """See LimitStore.settle. Settling twice changes nothing."""
        if reservation.settled:
            return
        reservation.settled = True
        more_tokens = 0 if tokens is None else tokens - reservation.tokens
        more_cost = 0 if cost is None else cost - reservation.cost
        for subject in reservation.subjects:
            account = self._accounts.get(subject.id)
            if account is None:
                continue
            account.parallel -= 1
            if subject.rates.tokens is not None and more_tokens:
                account.tokens.settle(reservation.second, more_tokens)
            for limit, amount in _amounts(subject.rates, more_tokens, more_cost):
                number, used = account.counted.get(limit, (-1, 0))
                if number == getattr(reservation, PERIODS[limit]):
                    account.counted[limit] = (number, used + amount)

    async def levels(self, subjects: tuple[Subject, ...]) -> list[Level]:
        """See LimitStore.levels."""
        now, wall = self.clock(), self.wall()
        found: list[Level] = []
        for subject in subjects:
            account = self._account(subject, now)
            if _unseeded(subject.rates, account, periods_at(wall)):
                await self._seed(subject, account, wall)
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

    def _account(self, subject: Subject, now: float) -> _Account:
        account = self._accounts.get(subject.id)
        if account is None:
            if len(self._accounts) >= self.sweep_above:
                self._sweep(now)
            account = self._accounts[subject.id] = _Account()
        account.requests.advance(now)
        account.tokens.advance(now)
        return account

    async def _seed(self, subject: Subject, account: _Account, wall: float) -> None:
        """Begin this period's counters with what is recorded."""
        account.parallel += 1  # So that no sweep takes the account away meanwhile.
        try:
            periods = periods_at(wall)
            for limit, _ in _amounts(subject.rates, 0, 0):
                period = PERIODS[limit]
                number = getattr(periods, period)
                tokens, cost = await self.seed(subject, period, wall)
                if account.counted.get(limit, (-1, 0))[0] < number:
                    account.counted[limit] = (number, tokens if limit == "tokens_per_day" else cost)
        finally:
            account.parallel -= 1

    @staticmethod
    def _refusal(
        subjects: tuple[Subject, ...],
        accounts: list[_Account],
        tokens: int,
        cost: int,
        now: float,
        wall: float,
    ) -> Refusal | None:
        """The limit that makes the call wait longest."""
        worst: Refusal | None = None
        wait = 0.0
        for subject, account in zip(subjects, accounts, strict=True):
            rates = subject.rates
            waits: list[tuple[Limit, float]] = []
            if rates.parallel is not None and account.parallel >= rates.parallel:
                waits.append(("max_parallel", PARALLEL_RETRY))
            if rates.requests is not None:
                waits.append(("requests_per_minute", account.requests.until_fits(now, 1, rates.requests)))
            if rates.tokens is not None:
                waits.append(("tokens_per_minute", account.tokens.until_fits(now, tokens, rates.tokens)))
            for limit, amount in _amounts(rates, tokens, cost):
                most = rates.values[LIMITS.index(limit)]
                if most is not None and account.counted[limit][1] + amount > most:
                    waits.append((limit, ends(PERIODS[limit], wall) - wall))
            for limit, longer in waits:
                if longer > wait:
                    worst, wait = Refusal(subject, limit, longer), longer
        return worst

    @staticmethod
    def _decision(
        subjects: tuple[Subject, ...],
        accounts: list[_Account],
        now: float,
        reservation: Reservation | None,
        refused: Refusal | None,
    ) -> Decision:
        requests: list[Gauge] = []
        tokens: list[Gauge] = []
        for subject, account in zip(subjects, accounts, strict=True):
            rates = subject.rates
            if rates.requests is not None:
                requests.append(_gauge(account.requests, rates.requests, now))
            if rates.tokens is not None:
                tokens.append(_gauge(account.tokens, rates.tokens, now))
        return Decision(reservation, refused, tightest(requests), tightest(tokens))

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


def _gauge(window: Window, limit: int, now: float) -> Gauge:
    return Gauge(limit, max(0, limit - window.total), window.until_empty(now))


def _amounts(rates: Rates, tokens: int, cost: int) -> list[tuple[Limit, int]]:
    """What a call counts for, of the limits in calendar periods that there are."""
    found: list[tuple[Limit, int]] = []
    if rates.tokens_day is not None:
        found.append(("tokens_per_day", tokens))
    if rates.day is not None:
        found.append(("budget_day", cost))
    if rates.week is not None:
        found.append(("budget_week", cost))
    if rates.month is not None:
        found.append(("budget_month", cost))
    return found


def _unseeded(rates: Rates, account: _Account, periods: Periods) -> bool:
    return any(
        account.counted.get(limit, (-1, 0))[0] < getattr(periods, PERIODS[limit])
        for limit, _ in _amounts(rates, 0, 0)
    )
