"""Keys and owners of the database, put beside those of the objects; kept up to date in every gateway."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from sqlalchemy import Connection

from slipway.gateway.auth import Key, Keyring
from slipway.gateway.catalog import Catalog, Snapshot
from slipway.gateway.errors import APIError
from slipway.gateway.identity.delegation import bounded
from slipway.gateway.identity.registry import Kept, all_keys, all_owners, counter
from slipway.gateway.logs import JSONLog
from slipway.gateway.storage.database import Database
from slipway.objects import Metadata, Owner, OwnerSpec

EVERY = 1.0
"""Seconds between two looks; a key that is revoked elsewhere works no longer than that."""
DEEPEST = 3
"""How many makers, one made with the other, a key may have."""
Person = Callable[[str, str, Mapping[str, Owner]], Key | None]
"""Who signs in by this name as this owner, by these owners; None if nobody may any more."""


@dataclass(slots=True)
class KeptIdentities:
    """Looks at the database and renews the catalogue's snapshot."""

    database: Database
    catalog: Catalog
    log: JSONLog
    told: Callable[[bool], None]
    """Whether the database could be asked."""
    person: Person = lambda name, owner, owners: None
    seen: int = -1
    """Where the counter stood when what is in force was read; -1 before that."""
    _keys: dict[str, Kept] = field(default_factory=dict)
    _owners: dict[str, OwnerSpec] = field(default_factory=dict)
    _made: dict[str, tuple[Kept, Key | None, Key]] = field(default_factory=dict)
    """Keys as they were made of what is kept, under which maker: most stay the same from look to look."""
    _away: bool = False
    _loaded: asyncio.Event = field(default_factory=asyncio.Event)
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def loaded(self) -> bool:
        """Whether the database could be read at least once."""
        return self.seen >= 0

    async def known(self) -> None:
        """Return when the database was read for the first time."""
        await self._loaded.wait()

    async def run(self) -> None:
        """Look until cancelled. While the database is away what was known stays in force."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Look once."""
        async with self._looking:  # One after the other: an older answer must not undo a newer one.
            try:
                found = await self.database.read(self._read)
            except APIError:
                self._say(away=True)
                return
            self._say(away=False)
            if found is not None:
                self.seen, keys, self._owners = found
                self._keys = {kept.name: kept for kept in keys}
                self.catalog.refresh()
            self._loaded.set()

    def named(self, name: str) -> Kept | None:
        """What is kept of a key; None for one that comes from an object."""
        return self._keys.get(name)

    def owner(self, name: str) -> OwnerSpec | None:
        """What is kept of an owner; None for one that comes from an object."""
        return self._owners.get(name)

    def extend(self, snapshot: Snapshot) -> Snapshot:
        """`snapshot` with the database's keys and owners; of two of one name the object counts."""
        if not self._keys and not self._owners:
            return snapshot
        owners = {
            name: Owner(metadata=Metadata(name="kept"), spec=spec.model_copy(update={"name": name}))
            for name, spec in self._owners.items()
        }
        both = MappingProxyType({**owners, **snapshot.owners})
        declared = snapshot.keyring.all()
        made = self._make({key.name: key for key in declared}, both)
        ring = Keyring.holding([*declared, *made])
        return replace(snapshot, keyring=ring, owners=both)

    def _make(self, declared: Mapping[str, Key], owners: Mapping[str, Owner]) -> list[Key]:
        """The database's keys, each bounded by the key or the person that made it."""
        before, self._made = self._made, {}

        def make(kept: Kept, depth: int) -> Key:
            there = self._made.get(kept.name)
            if there is not None:
                return there[2]
            maker = made_by(kept, depth)
            old = before.get(kept.name)
            same = old is not None and old[0] == kept and old[1] is maker
            key = old[2] if old is not None and same else key_of(kept, maker)
            self._made[kept.name] = (kept, maker, key)
            return key

        def made_by(kept: Kept, depth: int) -> Key | None:
            if kept.maker is None or depth > DEEPEST:
                return None
            if kept.maker.startswith("oidc:"):
                return self.person(kept.maker, kept.spec.owner, owners)
            if kept.maker in declared:
                return declared[kept.maker]
            maker = self._keys.get(kept.maker)
            return None if maker is None else make(maker, depth + 1)

        return [make(kept, 0) for kept in self._keys.values()]

    def _read(self, connection: Connection) -> tuple[int, list[Kept], dict[str, OwnerSpec]] | None:
        now = counter(connection)
        return None if now == self.seen else (now, all_keys(connection), all_owners(connection))

    def _say(self, *, away: bool) -> None:
        self.told(not away)
        if away != self._away:
            self._away = away
            words = "does not answer: the keys and owners known stay in force" if away else "answers again"
            self.log.write("warning" if away else "info", "identity", f"the database {words}")


def key_of(kept: Kept, maker: Key | None) -> Key:
    """A key of the database as it is in force."""
    spec = kept.spec if kept.maker is None else bounded(maker, kept.spec)
    return Key.made(
        kept.name,
        spec,
        kept.key_hash,
        kept.previous_hash,
        (kept.previous_until_us or 0) / 1_000_000,
        declared=False,
        makers=() if maker is None else (maker, *maker.makers),
    )
