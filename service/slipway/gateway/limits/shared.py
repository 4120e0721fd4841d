"""Counters in Redis, shared by all gateways: exact however many there are, and when one of them is killed.

Away means: no connection, no reply in time, or a refusal. Then a request is let through under this process's
own counters (`fail-open`: at most a limit's amount a gateway) or refused (`fail-closed`); what was used
meanwhile is brought to Redis when it is back.

Every reservation has an id, so that each command may be sent again: a reservation whose reply did not come
is undone, in the order of the connection or after it; a settlement that may be lost is repeated.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field

import hiredis

from slipway.gateway.errors import APIError, retry_after
from slipway.gateway.limits.commands import Commands, command
from slipway.gateway.limits.connection import (
    PASSING,
    NotSentError,
    RedisConnection,
    Reply,
    StoreAwayError,
)
from slipway.gateway.limits.contract import (
    LIMITS,
    PERIODS,
    SECONDS,
    Decision,
    Gauge,
    Level,
    Refusal,
    Reservation,
    Seed,
    Subject,
    never_fits,
    nothing_used,
    tightest,
)
from slipway.gateway.limits.inprocess import InProcessLimits
from slipway.gateway.limits.periods import DAY, ends

_HEAD = 6
"""Numbers of a reply before those of the subjects."""
_EACH = 9
_SEEDS_MISSING = 2
_TAKEN_BEFORE = 3
_SPENT = 2
_REMEMBER = 60.0
"""Seconds for which spent ids are kept: longer than a command can wait in a connection that was given up."""
_MOST_KEPT = 100_000
"""Settlements kept while Redis is away; of more than that the estimates stay."""
_AT_ONCE = 256
_LOOKED_AT = 32
"""Subjects of one look: nobody's decision waits long for it."""
_CALENDAR = 3
"""Limits before those of calendar periods."""
_UNKNOWN: tuple[int | str, ...] = ("?",) * (len(LIMITS) - _CALENDAR)


def unavailable() -> APIError:
    """503 where limits cannot be decided and requests are not let through without."""
    return APIError(
        503,
        "limits_unavailable",
        "The store that counts limits does not answer, and requests are not let through uncounted. "
        "Try again in a few seconds.",
        headers=retry_after(2.0),
    )


@dataclass(slots=True)
class SharedLimits:
    """Counts in Redis."""

    connection: RedisConnection
    commands: Commands
    local: InProcessLimits
    """Counts while Redis is away."""
    fail_open: bool
    wall: Callable[[], float]
    fell_back: Callable[[str], None]
    """Told of each request that was decided without Redis: `let` or `refused`."""
    seed: Seed = nothing_used
    _sequence: int = 0
    _memory: int = 0
    """Redis's, as long as it keeps it."""
    _open: dict[str, Reservation] = field(default_factory=dict)
    """Those with a limit on requests in flight, to be renewed."""
    _owed: dict[tuple[str, int], tuple[Subject, int, int]] = field(default_factory=dict)
    """By subject and day: tokens and cost that were used while Redis was away."""
    _kept: list[tuple[bytes, str]] = field(default_factory=list)
    """Settlements whose reply did not come, with their ids; sent again when Redis is back."""
    _spent: list[tuple[float, str]] = field(default_factory=list)
    """When, and which ids, to be forgotten in Redis."""
    _apart: bool = False
    """Redis has been away since it was last asked."""

    async def run(self) -> None:
        """Stay connected until cancelled."""
        renewing = asyncio.create_task(self._renew())
        try:
            await self.connection.run(self._prepare)
        finally:
            renewing.cancel()

    async def known(self) -> None:
        """Wait until it is known whether Redis can be asked."""
        await self.connection.tried.wait()

    async def reserve(self, subjects: tuple[Subject, ...], tokens: int, cost: int) -> Decision:
        """See LimitStore.reserve."""
        if not self.connection.up:
            return await self._without(subjects, tokens, cost)
        self._sequence += 1
        name = str(self._sequence)
        try:
            reply = await self._ask(name, subjects, tokens, cost, take=True)
        except NotSentError:
            return await self._without(subjects, tokens, cost)
        except StoreAwayError:
            self._undo(name, subjects, tokens, cost)
            return await self._without(subjects, tokens, cost)
        except asyncio.CancelledError:
            self._undo(name, subjects, tokens, cost)
            raise
        return self._decision(name, subjects, tokens, cost, reply)

    def settle(self, reservation: Reservation, tokens: int | None, cost: int | None) -> None:
        """See LimitStore.settle. Settling twice changes nothing."""
        if reservation.settled:
            return
        used_tokens = reservation.tokens if tokens is None else tokens
        used_cost = reservation.cost if cost is None else cost
        if reservation.local:
            self.local.settle(reservation, tokens, cost)
            self._owe(reservation, used_tokens, used_cost)
            return
        reservation.settled = True
        self._open.pop(reservation.id, None)
        packed = self.commands.settle(
            reservation.id,
            "settle",
            reservation.subjects,
            reservation.second,
            more=(0, used_tokens - reservation.tokens, used_cost - reservation.cost),
            memory=reservation.memory,
            whole=(used_tokens, used_cost),
        )
        self._send(packed, reservation.id)

    async def levels(self, subjects: tuple[Subject, ...]) -> list[Level]:
        """See LimitStore.levels."""
        found: list[Level] = []
        for at in range(0, len(subjects), _LOOKED_AT):
            found += await self._some_levels(subjects[at : at + _LOOKED_AT])
        return found

    async def _some_levels(self, subjects: tuple[Subject, ...]) -> list[Level]:
        try:
            if not self.connection.up:
                raise NotSentError
            reply = await self._ask("", subjects, 0, 0, take=False)
        except StoreAwayError:
            if not self.fail_open:
                raise unavailable() from None
            return await self.local.levels(subjects)
        wall = reply[1] + reply[2] / 1e6
        found: list[Level] = []
        for at, subject in enumerate(subjects):
            requests, tokens, last_r, last_t, *rest = reply[_HEAD + at * _EACH : _HEAD + (at + 1) * _EACH]
            used = (requests, tokens, *rest)
            for number, (limit, amount) in enumerate(zip(LIMITS, subject.rates.values, strict=True)):
                if amount is None:
                    continue
                resets: float | None = None
                if limit in PERIODS:
                    resets = float(ends(PERIODS[limit], wall))
                elif limit != "max_parallel":
                    last = last_r if number == 0 else last_t
                    resets = float(last + SECONDS + 1) if used[number] else wall
                found.append(Level(subject, limit, amount, used[number], resets))
        return found

    # --- asking -----------------------------------------------------------------------------------

    async def _ask(
        self, name: str, subjects: tuple[Subject, ...], tokens: int, cost: int, *, take: bool
    ) -> list[int]:
        """The script's reply, the calendar counters seeded where they were missing.

        Raises StoreAwayError, and what the seed raises.
        """
        reply = await self._evaluate(self.commands.reserve(name, subjects, tokens, cost, take=take))
        while reply[0] == _SEEDS_MISSING:
            failure: APIError | None = None
            try:
                seeds = [await self._seeds(subject, reply[1]) for subject in subjects]
            except APIError as error:
                failure, seeds = error, [_UNKNOWN] * len(subjects)
            packed = self.commands.reserve(name, subjects, tokens, cost, take=take, seeds=seeds)
            reply = await self._evaluate(packed)
            if failure is not None and reply[0] == _SEEDS_MISSING:
                raise failure
        return reply

    async def _evaluate(self, packed: bytes) -> list[int]:
        try:
            try:
                reply: list[int] = await self.connection.ask(packed)
            except hiredis.ReplyError as error:
                if not _forgotten(error):
                    raise
                reply = await self.connection.ask(self.commands.reserve_script.again(packed))
        except hiredis.ReplyError as error:
            self.connection.distrust(str(error))
            raise StoreAwayError(str(error)) from None
        if reply[0] == _TAKEN_BEFORE:
            raise StoreAwayError("the reservation is undone already")
        return reply

    async def _seeds(self, subject: Subject, now: float) -> tuple[int | str, ...]:
        found: list[int | str] = [0] * (len(LIMITS) - _CALENDAR)
        for each in subject.rates.calendar:
            tokens, cost = await self.seed(subject, each.period, now)
            found[LIMITS.index(each.limit) - _CALENDAR] = tokens if each.by_tokens else cost
        return tuple(found)

    def _decision(
        self, name: str, subjects: tuple[Subject, ...], tokens: int, cost: int, reply: list[int]
    ) -> Decision:
        code, second, micro, who, what, wait = reply[:_HEAD]
        now = second + micro / 1e6
        requests: list[Gauge] = []
        counted: list[Gauge] = []
        parallel = False
        for at, subject in enumerate(subjects):
            start, rates = _HEAD + at * _EACH, subject.rates
            if rates.requests is not None:
                requests.append(_gauge(rates.requests, reply[start], reply[start + 2], now))
            if rates.tokens is not None:
                counted.append(_gauge(rates.tokens, reply[start + 1], reply[start + 3], now))
            parallel = parallel or rates.parallel is not None
        gauges = (tightest(requests), tightest(counted))
        if code != 1:
            refused = never_fits(subjects, tokens, cost) or Refusal(
                subjects[who - 1], LIMITS[what - 1], max(0.001, wait / 1e6)
            )
            return Decision(None, refused, *gauges)
        taken = Reservation(name, subjects, second, tokens, cost, second, self._memory)
        if parallel:
            self._open[name] = taken
        return Decision(taken, None, *gauges)

    # --- away -------------------------------------------------------------------------------------

    async def _without(self, subjects: tuple[Subject, ...], tokens: int, cost: int) -> Decision:
        if not self.fail_open:
            self.fell_back("refused")
            raise unavailable()
        if not self._apart:
            self._apart = True
            if self.commands.seeded:
                self.local.forget_periods()
        self.fell_back("let")
        decision = await self.local.reserve(subjects, tokens, cost)
        if decision.reservation is not None:
            decision.reservation.local = True
        return decision

    def _undo(self, name: str, subjects: tuple[Subject, ...], tokens: int, cost: int) -> None:
        """Take back what was perhaps taken."""
        second, more = int(self.wall()), (-1, -tokens, -cost)
        self._send(self.commands.settle(name, "undo", subjects, second, more=more), name)

    def _owe(self, reservation: Reservation, tokens: int, cost: int) -> None:
        """Keep what was used without Redis for it; minutes pass, days and budgets count on."""
        for subject in reservation.subjects:
            if subject.rates.calendar:
                day = reservation.wall // DAY
                _, tokens_before, cost_before = self._owed.get((subject.id, day), (subject, 0, 0))
                self._owed[subject.id, day] = (subject, tokens_before + tokens, cost_before + cost)
        if self.connection.up:
            self._pay()

    def _pay(self) -> None:
        owed, self._owed = self._owed, {}
        for (_, day), (subject, tokens, cost) in owed.items():
            self._sequence += 1
            name = f"p{self._sequence}"
            packed = self.commands.settle(name, "pay", (subject,), day * DAY, more=(0, tokens, cost))
            self._send(packed, name)

    def _send(self, packed: bytes, name: str) -> None:
        """Send a settlement; again when Redis is back, if need be."""

        def then(reply: Reply) -> None:
            if isinstance(reply, StoreAwayError):
                self._keep(packed, name)
            elif isinstance(reply, hiredis.ReplyError):
                again = self.commands.settle_script.again(packed)
                if _forgotten(reply) and again != packed:
                    self._send(again, name)
                else:
                    if str(reply).startswith(PASSING):
                        self._keep(packed, name)
                    self.connection.distrust(str(reply))
            elif reply == _SPENT:
                self._spent.append((self.wall() + _REMEMBER, name))

        try:
            self.connection.send(packed, then)
        except NotSentError:
            self._keep(packed, name)

    def _keep(self, packed: bytes, name: str) -> None:
        if len(self._kept) < _MOST_KEPT:
            self._kept.append((packed, name))

    # --- there again ------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        """Load the scripts, see whether Redis has kept its memory; then bring to it what it has missed."""
        ask, mine = self.connection.execute, self.commands.open
        for script in (self.commands.reserve_script, self.commands.settle_script):
            await ask("SCRIPT", "LOAD", script.text)
        await ask("HSETNX", mine, "g", int.from_bytes(os.urandom(6)))
        self._memory = int(await ask("HGET", mine, "g"))
        await ask("EXPIRE", mine, DAY)
        self._apart = False
        kept, self._kept = self._kept, []
        for packed, name in kept:
            self._send(packed, name)
        self._renew_now()
        self._pay()

    async def _renew(self) -> None:
        """Keep the places in flight of requests that take longer than a lease."""
        while True:
            await asyncio.sleep(self.commands.lease / 3)
            self._renew_now()
            now, mine = self.wall(), self.commands.open
            self._quietly(command("EXPIRE", mine, DAY))
            names = [name for until, name in self._spent if until < now]
            self._spent = [each for each in self._spent if each[0] >= now]
            for at in range(0, len(names), _AT_ONCE):
                self._quietly(command("HDEL", mine, *names[at : at + _AT_ONCE]))

    def _renew_now(self) -> None:
        held = [
            (subject, name)
            for name, reservation in self._open.items()
            for subject in reservation.subjects
            if subject.rates.parallel is not None
        ]
        for at in range(0, len(held), _AT_ONCE):
            self._quietly(self.commands.renew(held[at : at + _AT_ONCE]))

    def _quietly(self, packed: bytes) -> None:
        """Send what may be lost."""
        try:
            self.connection.send(packed, lambda reply: None)
        except NotSentError:
            return


def shared_store(
    connection: RedisConnection,
    local: InProcessLimits,
    *,
    fail_open: bool,
    wall: Callable[[], float],
    fell_back: Callable[[str], None],
    seed: Seed = nothing_used,
    lease: float = 30.0,
    prefix: str = "slipway",
) -> SharedLimits:
    """Put a store together, under a name of its own."""
    commands = Commands(os.urandom(6).hex(), prefix, lease, seed is not nothing_used)
    return SharedLimits(connection, commands, local, fail_open, wall, fell_back, seed)


def _forgotten(error: hiredis.ReplyError) -> bool:
    return str(error).startswith("NOSCRIPT")


def _gauge(limit: int, used: int, last: int, now: float) -> Gauge:
    reset = max(0.0, last + SECONDS + 1 - now) if used else 0.0
    return Gauge(limit, max(0, limit - used), reset)
