"""Keys and owners of the database, put beside those of the objects; kept up to date in every gateway."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from sqlalchemy import Connection

from slipway.gateway.auth import Key, Keyring
from slipway.gateway.catalog import Catalog, Snapshot
from slipway.gateway.errors import APIError
from slipway.gateway.identity.registry import Kept, all_keys, all_owners, counter
from slipway.gateway.logs import JSONLog
from slipway.gateway.storage.database import Database
from slipway.objects import Metadata, Owner, OwnerSpec

EVERY = 1.0
"""Seconds between two looks; a key that is revoked elsewhere works no longer than that."""


@dataclass(slots=True)
class KeptIdentities:
    """Looks at the database and renews the catalogue's snapshot."""

    database: Database
    catalog: Catalog
    log: JSONLog
    told: Callable[[bool], None]
    """Whether the database could be asked."""
    _seen: int = -1
    _keys: list[Kept] = field(default_factory=list)
    _owners: dict[str, OwnerSpec] = field(default_factory=dict)
    _away: bool = False

    async def run(self) -> None:
        """Look until cancelled. While the database is away what was known stays in force."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Look once."""
        try:
            found = await self.database.run(self._read)
        except APIError:
            self._say(away=True)
            return
        self._say(away=False)
        if found is not None:
            self._seen, self._keys, self._owners = found
            self.catalog.refresh()

    def extend(self, snapshot: Snapshot) -> Snapshot:
        """`snapshot` with the database's keys and owners; of two of one name the object counts."""
        if not self._keys and not self._owners:
            return snapshot
        made = [
            Key.made(
                kept.name,
                kept.spec,
                kept.key_hash,
                kept.previous_hash,
                (kept.previous_until_us or 0) / 1_000_000,
                declared=False,
            )
            for kept in self._keys
        ]
        owners = {
            name: Owner(metadata=Metadata(name="kept"), spec=spec.model_copy(update={"name": name}))
            for name, spec in self._owners.items()
        }
        return replace(
            snapshot,
            keyring=Keyring.holding([*snapshot.keyring.all(), *made]),
            owners=MappingProxyType({**owners, **snapshot.owners}),
        )

    def _read(self, connection: Connection) -> tuple[int, list[Kept], dict[str, OwnerSpec]] | None:
        now = counter(connection)
        return None if now == self._seen else (now, all_keys(connection), all_owners(connection))

    def _say(self, *, away: bool) -> None:
        self.told(not away)
        if away != self._away:
            self._away = away
            words = "does not answer: the keys and owners known stay in force" if away else "answers again"
            self.log.write("warning" if away else "info", "identity", f"the database {words}")
