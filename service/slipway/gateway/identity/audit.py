"""The audit log: who changed what, and what was refused to whom. Never a key, never a token.

A change is written in the transaction that makes it. Refusals are counted by who, what and where; each kind
has one row a minute, whose count goes up: however hard somebody tries, there are a few rows. Both are lines
of the log too.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, delete, insert, select, update

from slipway.gateway.auth import Key
from slipway.gateway.errors import APIError
from slipway.gateway.identity.tables import audit_log
from slipway.gateway.logs import JSONLog
from slipway.gateway.storage.database import Database

EVERY = 5.0
"""Seconds between two writes of what was counted."""
WINDOW_US = 60_000_000
"""Microseconds for which refusals of a kind share a row."""
MOST_KINDS = 1000
"""Kinds of refusals that are told apart in that time; the others are counted by their code alone."""
FLUSHES = 12
"""Writes between two looks for rows that are too old."""
PER_SWEEP = 1000
"""Old rows deleted then."""
LAST = 1.0
"""Seconds that a gateway which ends gives the last write."""
DAY_US = 86_400_000_000
NOBODY = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What somebody did."""

    action: str
    """`key.create` and the like."""
    target: str
    """The name of the key or owner."""
    details: Mapping[str, Any]
    """What was asked for."""


@dataclass(slots=True)
class _Refusals:
    """Those of one kind and minute: one row."""

    since_us: int
    request_id: str
    """The first one's."""
    count: int = 0
    written: int = 0
    """The count that the row has; 0: there is no row yet."""
    row: str = ""


_Kind = tuple[str, str, str, str]
"""Name and owner of the caller, the code, the route."""


@dataclass(slots=True)
class Audit:
    """Writes the log."""

    database: Database
    log: JSONLog
    now_us: Callable[[], int]
    keep_days: int
    _refused: dict[_Kind, _Refusals] = field(default_factory=dict)
    _count: int = 0

    def changed(self, connection: Connection, who: Key, change: Change, request_id: str) -> None:
        """Write a change, in the transaction that makes it."""
        self._write(connection, who.name, who.owner, change, request_id)

    def tell(self, who: Key, change: Change, request_id: str) -> None:
        """Say in the log that a change was made."""
        self._tell("info", f"{who.name} of {who.owner}", who.name, who.owner, change, request_id)

    def refused(self, who: Key | None, code: str, route: str, request_id: str) -> None:
        """Count a refusal."""
        kind = (NOBODY, NOBODY, code, route) if who is None else (who.name, who.owner, code, route)
        if kind not in self._refused and len(self._refused) >= MOST_KINDS:
            kind = (NOBODY, NOBODY, code, "")
        seen = self._refused.get(kind)
        if seen is None:
            seen = self._refused[kind] = _Refusals(self.now_us(), request_id)
        seen.count += 1

    async def run(self) -> None:
        """Write what was counted, and forget what is too old, until cancelled."""
        try:
            while True:
                for _ in range(FLUSHES):
                    await asyncio.sleep(EVERY)
                    await self.flush()
                await self._forget()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST):
                    await self.flush()

    async def flush(self) -> None:
        """Write the refusals that were counted; while the database is away they wait."""
        now = [(kind, seen, seen.count) for kind, seen in self._refused.items() if seen.count > seen.written]
        if now:
            try:
                await self.database.run(lambda connection: self._write_refusals(connection, now))
            except APIError:
                return
        for (name, owner, code, route), seen, count in now:
            if not seen.written:
                change = Change("refused", route, {"code": code, "count": count})
                self._tell("warning", name or "somebody", name, owner, change, seen.request_id)
            seen.written = count
        self._begin_anew()

    def _begin_anew(self) -> None:
        """End the minutes that are over; what was counted since the last write begins the next."""
        now = self.now_us()
        for kind, seen in list(self._refused.items()):
            if seen.since_us + WINDOW_US > now:
                continue
            del self._refused[kind]
            if seen.count > seen.written:
                self._refused[kind] = _Refusals(now, seen.request_id, seen.count - seen.written)

    def _write_refusals(self, connection: Connection, now: list[tuple[_Kind, _Refusals, int]]) -> None:
        for (name, owner, code, route), seen, count in now:
            change = Change("refused", route, {"code": code, "count": count})
            if seen.written:
                written = update(audit_log).where(audit_log.c.id == seen.row)
                connection.execute(written.values(details=orjson.dumps(change.details).decode()))
            else:
                seen.row = self._write(connection, name, owner, change, seen.request_id)

    async def _forget(self) -> None:
        before = self.now_us() - self.keep_days * DAY_US
        old = select(audit_log.c.id).where(audit_log.c.at_us < before).limit(PER_SWEEP)
        try:
            await self.database.run(
                lambda connection: connection.execute(
                    delete(audit_log).where(audit_log.c.id.in_(old.scalar_subquery()))
                )
            )
        except APIError:
            return

    def _tell(self, level: str, words: str, name: str, owner: str, change: Change, request_id: str) -> None:
        self.log.write(
            level,
            "audit",
            f"{words}: {change.action} {change.target}",
            actor=name,
            actor_owner=owner,
            action=change.action,
            target=change.target,
            details=change.details,
            request_id=request_id,
        )

    def _write(self, connection: Connection, actor: str, owner: str, change: Change, request_id: str) -> str:
        """Write a row; its id, which begins with the time."""
        self._count += 1
        now = self.now_us()
        row = f"audit_{now:014x}{self._count & 0xFFFF:04x}{os.urandom(4).hex()}"
        connection.execute(
            insert(audit_log).values(
                id=row,
                at_us=now,
                actor=actor,
                actor_owner=owner,
                action=change.action,
                target=change.target[:253],
                request_id=request_id,
                details=orjson.dumps(change.details).decode() if change.details else None,
            )
        )
        return row
