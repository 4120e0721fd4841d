"""The audit log: who changed what, and what was refused to whom. Never a key, never a token.

A change is written in the transaction that makes it. Refusals are counted by who, what and why, and written
every few seconds, so that an attacker writes a few rows a minute however hard he tries.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, delete, insert, select

from slipway.gateway.auth import Key
from slipway.gateway.errors import APIError
from slipway.gateway.identity.tables import audit_log
from slipway.gateway.logs import JSONLog
from slipway.gateway.storage.database import Database

GATHER = 5.0
"""Seconds for which refusals are counted before they are written."""
MOST_KINDS = 1000
"""Kinds of refusals that are told apart in that time; the others are counted together."""
PER_SWEEP = 1000
DAY_US = 86_400_000_000
NOBODY = ""


@dataclass(slots=True)
class _Refusals:
    count: int
    request_id: str


@dataclass(slots=True)
class Audit:
    """Writes and reads the log."""

    database: Database
    log: JSONLog
    now_us: Callable[[], int]
    keep_days: int
    _refused: dict[tuple[str, str, str, str], _Refusals] = field(default_factory=dict)
    _count: int = 0

    def changed(
        self, connection: Connection, who: Key, action: str, target: str, request_id: str, **details: Any
    ) -> None:
        """Write a change, in the transaction that makes it."""
        self._write(connection, who.name, who.owner, action, target, request_id, details)
        self.log.write(
            "info",
            "audit",
            f"{who.name} of {who.owner}: {action} {target}",
            actor=who.name,
            actor_owner=who.owner,
            action=action,
            target=target,
            request_id=request_id,
        )

    def refused(self, who: Key | None, code: str, path: str, request_id: str) -> None:
        """Count a refusal."""
        name, owner = (who.name, who.owner) if who is not None else (NOBODY, NOBODY)
        kind = (name, owner, code, path)
        if kind not in self._refused and len(self._refused) >= MOST_KINDS:
            kind = (NOBODY, NOBODY, code, "")
        seen = self._refused.get(kind)
        if seen is None:
            self._refused[kind] = _Refusals(1, request_id)
        else:
            seen.count += 1

    async def run(self) -> None:
        """Write what was counted, and forget what is too old, until cancelled."""
        try:
            while True:
                await asyncio.sleep(GATHER)
                await self.flush()
                await self._forget()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Write the refusals that were counted; while the database is away they wait."""
        counted, self._refused = self._refused, {}
        if not counted:
            return

        def write(connection: Connection) -> None:
            for (name, owner, code, path), seen in counted.items():
                details = {"code": code, "count": seen.count}
                self._write(connection, name, owner, "refused", path, seen.request_id, details)

        try:
            await self.database.run(write)
        except APIError:
            for kind, seen in counted.items():
                held = self._refused.get(kind)
                if held is not None:
                    held.count += seen.count
                elif len(self._refused) < MOST_KINDS:
                    self._refused[kind] = seen

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

    def _write(
        self,
        connection: Connection,
        actor: str,
        owner: str,
        action: str,
        target: str,
        request_id: str,
        details: dict[str, Any],
    ) -> None:
        self._count += 1
        now = self.now_us()
        connection.execute(
            insert(audit_log).values(
                id=f"audit_{now:014x}{self._count & 0xFFFF:04x}{os.urandom(4).hex()}",
                at_us=now,
                actor=actor,
                actor_owner=owner,
                action=action,
                target=target[:253],
                request_id=request_id,
                details=orjson.dumps(details).decode() if details else None,
            )
        )
