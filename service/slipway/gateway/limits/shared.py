"""Counters in Redis, shared by all gateways: exact however many there are, and when one of them is killed.

Away means: no connection, or no reply in time. Then a request is let through under this process's own
counters (`fail-open`: at most a limit's amount a gateway) or refused (`fail-closed`); what was used meanwhile
is brought to Redis when it is back.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any

import hiredis

from slipway.gateway.errors import APIError, retry_after
from slipway.gateway.limits import scripts
from slipway.gateway.limits.connection import RedisConnection, StoreAwayError
from slipway.gateway.limits.contract import (
    LIMITS,
    PERIODS,
    SECONDS,
    Decision,
    Gauge,
    Level,
    LimitStore,
    Refusal,
    Reservation,
    Seed,
    Subject,
    never_fits,
    nothing_used,
    tightest,
)
from slipway.gateway.limits.periods import ends, periods_at

_HEAD = 6
"""Numbers of a reply before those of the subjects."""
_EACH = 9


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
    local: LimitStore
    """Counts while Redis is away."""
    fail_open: bool
    wall: Callable[[], float]
    fell_back: Callable[[str], None]
    """Told of each request that was decided without Redis: `let` or `refused`."""
    seed: Seed = nothing_used
    lease: float = 30.0
    """Seconds after which places in flight of a gateway that is gone are free again."""
    prefix: str = "slipway"
    reserve_script: str = scripts.RESERVE
    settle_script: str = scripts.SETTLE
    _gateway: str = field(default_factory=lambda: os.urandom(6).hex())
    _sequence: int = 0
    _open: dict[str, Reservation] = field(default_factory=dict)
    """Those with a limit on requests in flight, to be renewed."""
    _owed: dict[str, list[Any]] = field(default_factory=dict)
    """By subject and day: what was used while Redis was away."""
    _doubtful: dict[str, Reservation] = field(default_factory=dict)
    """Perhaps taken: the reply did not come. They are taken back when Redis is."""
    _unsettled: list[tuple[Any, ...]] = field(default_factory=list)
    _reserve_sha: bytes = b""
    _settle_sha: bytes = b""

    async def run(self) -> None:
        """Stay connected until cancelled."""
        renewing = asyncio.create_task(self._renew())
        try:
            await self.connection.run(self._prepare)
        finally:
            renewing.cancel()

    async def reserve(self, subjects: tuple[Subject, ...], tokens: int, cost: int) -> Decision:
        """See LimitStore.reserve."""
        too_large = never_fits(subjects, tokens, cost)
        if too_large is not None:
            return Decision(None, too_large)
        if not self.connection.up:
            return await self._without(subjects, tokens, cost)
        self._sequence += 1
        name = f"{self._gateway}:{self._sequence}"
        try:
            reply = await self._ask(name, subjects, tokens, cost, take=True)
        except StoreAwayError:
            at = periods_at(self.wall())
            taken = Reservation(name, subjects, int(self.wall()), tokens, cost, at.day, at.week, at.month)
            self._doubtful[name] = taken
            return await self._without(subjects, tokens, cost)
        return self._decision(name, subjects, tokens, cost, reply)

    def settle(self, reservation: Reservation, tokens: int | None, cost: int | None) -> None:
        """See LimitStore.settle. Settling twice changes nothing."""
        if reservation.settled:
            return
        more_tokens = 0 if tokens is None else tokens - reservation.tokens
        more_cost = 0 if cost is None else cost - reservation.cost
        if reservation.local:
            self.local.settle(reservation, tokens, cost)
            self._owe(reservation, reservation.tokens + more_tokens, reservation.cost + more_cost)
            return
        reservation.settled = True
        self._open.pop(reservation.id, None)
        self._send(_settlement(self, reservation, 0, more_tokens, more_cost))

    async def levels(self, subjects: tuple[Subject, ...]) -> list[Level]:
        """See LimitStore.levels."""
        if not subjects:
            return []
        if not self.connection.up:
            return await self.local.levels(subjects)
        try:
            reply = await self._ask("", subjects, 0, 0, take=False)
        except StoreAwayError:
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
        """The script's reply, the calendar counters seeded where they were missing. Raises StoreAwayError."""
        seeds: list[tuple[str, ...]] | None = None
        if self.seed is nothing_used:
            seeds = [("0",) * 4] * len(subjects)
        while True:
            reply = await self._evaluate(name, subjects, tokens, cost, take, seeds)
            if reply[0] != 2:
                return reply
            seeds = [await self._seeds(subject, reply[1]) for subject in subjects]

    async def _evaluate(
        self,
        name: str,
        subjects: tuple[Subject, ...],
        tokens: int,
        cost: int,
        take: bool,
        seeds: list[tuple[str, ...]] | None,
    ) -> list[int]:
        command: list[str | bytes | int] = ["EVALSHA", self._reserve_sha, 1 + 2 * len(subjects)]
        command += self._keys(subjects)
        command += [name, int(self.lease * 1000), tokens, cost, int(take)]
        for at, subject in enumerate(subjects):
            command += [-1 if amount is None else amount for amount in subject.rates.values]
            command += ("", "", "", "") if seeds is None else seeds[at]
        reply: Any = await self.connection.execute(*command)
        if isinstance(reply, hiredis.ReplyError):
            if not str(reply).startswith("NOSCRIPT"):
                raise reply
            await self._prepare_scripts(self.connection)
            reply = await self.connection.execute(*command)
            if isinstance(reply, hiredis.ReplyError):
                raise reply
        found: list[int] = reply
        return found

    async def _seeds(self, subject: Subject, now: float) -> tuple[str, ...]:
        rates = subject.rates
        found: list[str] = []
        for limit, amount in zip(LIMITS[3:], rates.values[3:], strict=True):
            if amount is None:
                found.append("0")
                continue
            tokens, cost = await self.seed(subject, PERIODS[limit], now)
            found.append(str(tokens if limit == "tokens_per_day" else cost))
        return tuple(found)

    def _keys(self, subjects: tuple[Subject, ...]) -> list[str]:
        tag = f"{{{self.prefix}}}"
        keys = [f"{tag}:open:{self._gateway}"]
        for subject in subjects:
            keys += (f"{tag}:{subject.id}", f"{tag}:{subject.id}:in-flight")
        return keys

    def _decision(
        self, name: str, subjects: tuple[Subject, ...], tokens: int, cost: int, reply: list[int]
    ) -> Decision:
        code, second, micro, who, what, wait = reply[:_HEAD]
        now = second + micro / 1e6
        requests: list[Gauge] = []
        counted: list[Gauge] = []
        for at, subject in enumerate(subjects):
            start, rates = _HEAD + at * _EACH, subject.rates
            if rates.requests is not None:
                requests.append(_gauge(rates.requests, reply[start], reply[start + 2], now))
            if rates.tokens is not None:
                counted.append(_gauge(rates.tokens, reply[start + 1], reply[start + 3], now))
        if code != 1:
            refused = Refusal(subjects[who - 1], LIMITS[what - 1], max(0.001, wait / 1e6))
            return Decision(None, refused, tightest(requests), tightest(counted))
        at_ = periods_at(second)
        taken = Reservation(name, subjects, second, tokens, cost, at_.day, at_.week, at_.month)
        if any(subject.rates.parallel is not None for subject in subjects):
            self._open[name] = taken
        return Decision(taken, None, tightest(requests), tightest(counted))

    # --- away -------------------------------------------------------------------------------------

    async def _without(self, subjects: tuple[Subject, ...], tokens: int, cost: int) -> Decision:
        if not self.fail_open:
            self.fell_back("refused")
            raise unavailable()
        self.fell_back("let")
        decision = await self.local.reserve(subjects, tokens, cost)
        if decision.reservation is not None:
            decision.reservation.local = True
        return decision

    def _owe(self, reservation: Reservation, tokens: int, cost: int) -> None:
        """Keep what was used without Redis for it; minutes pass, days and budgets count on."""
        for subject in reservation.subjects:
            owed = self._owed.setdefault(f"{subject.id} {reservation.day}", [subject, reservation, 0, 0])
            owed[2] += tokens
            owed[3] += cost
        if self.connection.up:
            self._pay()

    def _pay(self) -> None:
        owed, self._owed = self._owed, {}
        for subject, reservation, tokens, cost in owed.values():
            of = Reservation("", (subject,), 0, 0, 0, reservation.day, reservation.week, reservation.month)
            self._send(_settlement(self, of, 0, tokens, cost))

    def _send(self, command: tuple[Any, ...]) -> None:
        try:
            future = self.connection.execute(*command)
        except StoreAwayError:
            self._keep(command)
            return
        future.add_done_callback(lambda done: self._sent(done, command))

    def _sent(self, future: "asyncio.Future[Any]", command: tuple[Any, ...]) -> None:
        if future.cancelled():
            return
        if future.exception() is not None:
            self._keep(command)
        elif isinstance(reply := future.result(), hiredis.ReplyError) and "NOSCRIPT" in str(reply):
            self._keep(command)
            self._again = asyncio.ensure_future(self._retry())

    def _keep(self, command: tuple[Any, ...]) -> None:
        """Send it again when Redis is back; what was settled already is not settled twice."""
        if len(self._unsettled) < 100_000:
            self._unsettled.append(command)

    _again: "asyncio.Future[None] | None" = None

    async def _retry(self) -> None:
        try:
            await self._prepare(self.connection)
        except StoreAwayError:
            return

    async def _prepare(self, connection: RedisConnection) -> None:
        """Load the scripts; then bring to Redis what it has missed."""
        await self._prepare_scripts(connection)
        unsettled, self._unsettled = self._unsettled, []
        for command in unsettled:
            self._send(command)
        doubtful, self._doubtful = self._doubtful, {}
        for reservation in doubtful.values():
            self._send(_settlement(self, reservation, -1, -reservation.tokens, -reservation.cost))
        self._pay()

    async def _prepare_scripts(self, connection: RedisConnection) -> None:
        self._reserve_sha = _sha(self.reserve_script)
        self._settle_sha = _sha(self.settle_script)
        for script in (self.reserve_script, self.settle_script):
            reply = await connection.execute("SCRIPT", "LOAD", script)
            if isinstance(reply, hiredis.ReplyError):
                raise reply

    async def _renew(self) -> None:
        """Keep the places in flight of requests that take longer than a lease."""
        while True:
            await asyncio.sleep(self.lease / 3)
            tag = f"{{{self.prefix}}}"
            held = [
                (f"{tag}:{subject.id}:in-flight", reservation.id)
                for reservation in self._open.values()
                for subject in reservation.subjects
                if subject.rates.parallel is not None
            ]
            for at in range(0, len(held), 256):
                keys, names = zip(*held[at : at + 256], strict=True)
                lease = int(self.lease * 1000)
                self._quietly("EVAL", scripts.RENEW, len(keys), *keys, lease, *names)

    def _quietly(self, *command: str | int) -> None:
        try:
            self.connection.execute(*command).add_done_callback(
                lambda done: None if done.cancelled() else done.exception()
            )
        except StoreAwayError:
            return


def _settlement(
    store: SharedLimits, reservation: Reservation, requests: int, tokens: int, cost: int
) -> tuple[Any, ...]:
    subjects = reservation.subjects
    return (
        "EVALSHA",
        _sha(store.settle_script) if not store._settle_sha else store._settle_sha,
        1 + 2 * len(subjects),
        *store._keys(subjects),
        reservation.id,
        requests,
        tokens,
        cost,
        reservation.day,
        reservation.week,
        reservation.month,
        *("".join("0" if amount is None else "1" for amount in subject.rates.values) for subject in subjects),
    )


def _sha(script: str) -> bytes:
    return sha1(script.encode()).hexdigest().encode()  # noqa: S324 - Redis names scripts so


def _gauge(limit: int, used: int, last: int, now: float) -> Gauge:
    reset = max(0.0, last + SECONDS + 1 - now) if used else 0.0
    return Gauge(limit, max(0, limit - used), reset)
