"""Changes of keys and owners: each is decided by the state of things in the transaction that makes it.

Who asks, and what it may, is known from memory. Had another gateway changed anything since (revoked the very
key that asks, above all), the change is not made: memory is renewed and the question put again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fastapi import Request
from sqlalchemy import Connection

from slipway.gateway.apis import Caller, id_of
from slipway.gateway.auth import Key
from slipway.gateway.errors import overloaded
from slipway.gateway.identity.audit import Audit, Change
from slipway.gateway.identity.kept import KeptIdentities
from slipway.gateway.identity.registry import StaleError, begin
from slipway.gateway.storage.database import Database

T = TypeVar("T")
Work = Callable[[Connection, Key], tuple[T, Change]]
"""Makes a change that the key asks for; what came of it, and what the audit log says. Raises APIError."""
TRIES = 8
"""How often a change is tried while others are faster."""


@dataclass(frozen=True, slots=True)
class Changing:
    """Makes changes, one at a time over all gateways."""

    caller: Caller
    database: Database
    kept: KeptIdentities
    audit: Audit

    async def __call__(self, request: Request, work: Work[T]) -> T:
        """What came of `work`; in force on this gateway when this returns.

        Raises APIError: 401 for a caller who is gone by now, what `work` raises, 503.
        """
        for _ in range(TRIES):
            seen = self.kept.seen
            who = await self.caller(request)
            try:
                done, change = await self.database.run(
                    lambda connection, seen=seen, who=who: self._make(connection, seen, who, work, request)  # type: ignore[misc]
                )
            except StaleError:
                await self.kept.look()
                continue
            self.audit.tell(who, change, id_of(request))
            await self.kept.look()
            return done
        raise overloaded("Keys and owners are being changed by others right now. Try again shortly.")

    def _make(
        self, connection: Connection, seen: int, who: Key, work: Work[T], request: Request
    ) -> tuple[T, Change]:
        begin(connection, seen)
        done, change = work(connection, who)
        self.audit.changed(connection, who, change, id_of(request))
        return done, change
