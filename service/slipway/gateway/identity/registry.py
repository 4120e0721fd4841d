"""Keys and owners in the database: made, changed, rotated, revoked.

A change begins by raising the counter, which makes changes of all gateways wait for each other; and it is
made by the state of things that the counter stood for, or not at all (`begin`).
"""

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from slipway.gateway.errors import APIError
from slipway.gateway.identity.tables import api_keys, changes, owners
from slipway.objects import APIKeySpec, OwnerSpec


class StaleError(Exception):
    """Something has changed since what a change is made by was read."""


def no_such_key(name: str) -> APIError:
    """404 for a key that is not there, or is none of the caller's business."""
    shown = name if len(name) <= 64 else name[:64] + "…"
    return APIError(404, "key_not_found", f"There is no key `{shown}`; GET /v1/keys lists yours.")


def no_such_owner(name: str) -> APIError:
    """404 for an owner that is not there."""
    shown = name if len(name) <= 64 else name[:64] + "…"
    return APIError(404, "owner_not_found", f"There is no owner `{shown}`; GET /v1/owners lists them.")


def name_taken(what: str, name: str) -> APIError:
    """409: there is one already."""
    return APIError(
        409, "name_taken", f"There is a {what} `{name}` already; choose another name.", param="name"
    )


@dataclass(frozen=True, slots=True)
class Kept:
    """A key in the database."""

    name: str
    spec: APIKeySpec
    key_hash: str
    previous_hash: str | None
    previous_until_us: int | None
    created_us: int
    created_by: str
    maker: str | None
    """The member whose key made it, and bounds what it may: a key's name, or `oidc:` and a person's."""


_COUNTER = f"SELECT counter FROM {changes.name} WHERE id = 1"  # noqa: S608 - both names are ours


def counter(connection: Connection) -> int:
    """Differs as soon as anything has changed."""
    # Every gateway asks this once a second: as text it costs half.
    return int(connection.exec_driver_sql(_COUNTER).scalar() or 0)


def begin(connection: Connection, seen: int) -> None:
    """Begin a change by what was there when the counter stood at `seen`. Raises StaleError."""
    connection.execute(update(changes).where(changes.c.id == 1).values(counter=changes.c.counter + 1))
    if counter(connection) != seen + 1:
        raise StaleError


def all_keys(connection: Connection) -> list[Kept]:
    """Every key, by name."""
    return [_kept(row) for row in connection.execute(select(api_keys).order_by(api_keys.c.name))]


def add_key(connection: Connection, kept: Kept) -> None:
    """Make a key. Raises APIError 409."""
    try:
        connection.execute(
            insert(api_keys).values(
                name=kept.name,
                owner=kept.spec.owner,
                spec=_json(kept.spec),
                key_hash=kept.key_hash,
                created_us=kept.created_us,
                created_by=kept.created_by,
                maker=kept.maker,
            )
        )
    except IntegrityError:
        raise name_taken("key", kept.name) from None


def change_key(connection: Connection, name: str, spec: APIKeySpec, maker: str | None) -> None:
    """Give a key another spec, and say who bounds it."""
    values = {"spec": _json(spec), "owner": spec.owner, "maker": maker}
    connection.execute(update(api_keys).where(api_keys.c.name == name).values(values))


def rotate_key(connection: Connection, name: str, key_hash: str, until_us: int) -> None:
    """Give a key another secret; the one before works until then, and none before that."""
    connection.execute(
        update(api_keys)
        .where(api_keys.c.name == name)
        .values(previous_hash=api_keys.c.key_hash, previous_until_us=until_us, key_hash=key_hash)
    )


def revoke_key(connection: Connection, name: str) -> list[str]:
    """Remove a key and all that members made with it; their names."""
    gone, found = [], [name]
    while found:
        each = found.pop()
        gone.append(each)
        found += connection.scalars(
            select(api_keys.c.name).where(api_keys.c.maker == each).order_by(api_keys.c.name)
        ).all()
        connection.execute(delete(api_keys).where(api_keys.c.name == each))
    return gone


def all_owners(connection: Connection) -> dict[str, OwnerSpec]:
    """Every owner, by name."""
    rows = connection.execute(select(owners.c.name, owners.c.spec).order_by(owners.c.name))
    return {row.name: OwnerSpec.model_validate(orjson.loads(row.spec)) for row in rows}


def add_owner(connection: Connection, name: str, spec: OwnerSpec, now_us: int, by: str) -> None:
    """Make an owner. Raises APIError 409."""
    try:
        connection.execute(
            insert(owners).values(name=name, spec=_json(spec), created_us=now_us, created_by=by)
        )
    except IntegrityError:
        raise name_taken("owner", name) from None


def change_owner(connection: Connection, name: str, spec: OwnerSpec) -> None:
    """Give an owner another spec."""
    connection.execute(update(owners).where(owners.c.name == name).values(spec=_json(spec)))


def remove_owner(connection: Connection, name: str) -> None:
    """Remove an owner; its keys stay, without its limits."""
    connection.execute(delete(owners).where(owners.c.name == name))


def _json(spec: APIKeySpec | OwnerSpec) -> str:
    return spec.model_dump_json(by_alias=True, exclude_none=True)


def _kept(row: Row[Any]) -> Kept:
    return Kept(
        row.name,
        APIKeySpec.model_validate(orjson.loads(row.spec)),
        row.key_hash,
        row.previous_hash,
        row.previous_until_us,
        row.created_us,
        row.created_by,
        row.maker,
    )
