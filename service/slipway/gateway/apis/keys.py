"""`/v1/keys`: make, list, change, rotate and revoke keys. A member sees and makes those of its owner."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import Connection

from slipway.gateway.apis import Caller
from slipway.gateway.apis.bodies import checked, id_of, read_object
from slipway.gateway.apis.me import described
from slipway.gateway.auth import Key
from slipway.gateway.catalog import Catalog
from slipway.gateway.errors import APIError
from slipway.gateway.identity import delegation, registry
from slipway.gateway.identity.audit import Audit
from slipway.gateway.identity.kept import KeptIdentities
from slipway.gateway.storage.database import Database
from slipway.objects import APIKeySpec
from slipway.objects.meta import Name

LONGEST_OVERLAP = 90 * 86_400
"""Seconds that a rotated key's secret before it may go on working."""


class _NewName(BaseModel):
    name: Name


class Rotation(BaseModel):
    """The body of POST /v1/keys/NAME/rotate."""

    model_config = ConfigDict(extra="forbid")

    graceSeconds: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP)] = 86_400  # noqa: N815 - the API's name


Text = Annotated[str, StringConstraints(max_length=253)]


def router(
    caller: Caller,
    database: Database,
    catalog: Catalog,
    kept: KeptIdentities,
    audit: Audit,
    now_us: Callable[[], int],
) -> APIRouter:
    """The routes of keys."""
    routes = APIRouter()

    def visible(who: Key) -> list[Key]:
        every = catalog.snapshot.keyring.all()
        return every if who.role == "admin" else [key for key in every if key.owner == who.owner]

    def found(who: Key, name: str) -> Key:
        key = next((key for key in visible(who) if key.name == name), None)
        if key is None:
            raise registry.no_such_key(name)
        return key

    def changeable(connection: Connection, who: Key, name: str) -> registry.Kept:
        """A key of the database that the caller may change: one that may do no more than the caller."""
        there = registry.key_named(connection, name)
        if there is None:
            found(who, name)
            raise APIError(
                409,
                "declared_elsewhere",
                f"The key `{name}` comes from an object: change it there (`slipway key`, or its file).",
            )
        if who.role != "admin" and there.spec.owner != who.owner:
            raise registry.no_such_key(name)
        delegation.check(who, there.spec)
        return there

    @routes.post("/v1/keys")
    async def create(request: Request) -> JSONResponse:
        who = await caller(request)
        body = await read_object(request)
        name = checked(_NewName, {"name": body.pop("name", None)}).name
        body.setdefault("owner", who.owner)
        spec = delegation.filled(who, checked(APIKeySpec, body))
        delegation.check(who, spec)
        if catalog.snapshot.keyring.named(name) is not None:
            raise registry.name_taken("key", name)
        plain, digest = _new_secret()

        def work(connection: Connection) -> None:
            registry.add_key(connection, name, spec, digest, now_us(), who.name)
            audit.changed(connection, who, "key.create", name, id_of(request), **_shown(spec))

        await database.run(work)
        await kept.look()
        return JSONResponse({**described(Key.made(name, spec, digest, declared=False)), "key": plain}, 201)

    @routes.get("/v1/keys")
    async def list_keys(
        request: Request,
        after: Annotated[Text | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> JSONResponse:
        who = await caller(request)
        rest = [key for key in visible(who) if after is None or key.name > after]
        return JSONResponse(
            {
                "object": "list",
                "data": [described(key) for key in rest[:limit]],
                "first_id": rest[0].name if rest else None,
                "last_id": rest[:limit][-1].name if rest else None,
                "has_more": len(rest) > limit,
            }
        )

    @routes.get("/v1/keys/{name}")
    async def show(name: str, request: Request) -> JSONResponse:
        return JSONResponse(described(found(await caller(request), name)))

    @routes.patch("/v1/keys/{name}")
    async def change(name: str, request: Request) -> JSONResponse:
        who = await caller(request)
        body = await read_object(request)

        def work(connection: Connection) -> registry.Kept:
            there = changeable(connection, who, name)
            merged = {**there.spec.model_dump(mode="json", by_alias=True, exclude_none=True), **body}
            spec = checked(APIKeySpec, {field: value for field, value in merged.items() if value is not None})
            delegation.check(who, spec)
            registry.change_key(connection, name, spec)
            audit.changed(connection, who, "key.change", name, id_of(request), **body)
            changed = registry.key_named(connection, name)
            assert changed is not None  # noqa: S101 - it was there in this transaction
            return changed

        now = await database.run(work)
        await kept.look()
        return JSONResponse(described(Key.made(name, now.spec, now.key_hash, declared=False)))

    @routes.post("/v1/keys/{name}/rotate")
    async def rotate(name: str, request: Request) -> JSONResponse:
        who = await caller(request)
        asked = checked(Rotation, await read_object(request, empty=True))
        plain, digest = _new_secret()
        until_us = now_us() + asked.graceSeconds * 1_000_000

        def work(connection: Connection) -> registry.Kept:
            there = changeable(connection, who, name)
            registry.rotate_key(connection, name, digest, until_us)
            audit.changed(
                connection, who, "key.rotate", name, id_of(request), graceSeconds=asked.graceSeconds
            )
            return there

        there = await database.run(work)
        await kept.look()
        until = datetime.fromtimestamp(until_us / 1_000_000, UTC).isoformat()
        shown = described(Key.made(name, there.spec, digest, declared=False))
        return JSONResponse({**shown, "key": plain, "previousUntil": until})

    @routes.delete("/v1/keys/{name}")
    async def revoke(name: str, request: Request) -> JSONResponse:
        who = await caller(request)

        def work(connection: Connection) -> list[str]:
            changeable(connection, who, name)
            gone = registry.revoke_key(connection, name)
            audit.changed(connection, who, "key.revoke", name, id_of(request), with_it=gone[1:])
            return gone

        gone = await database.run(work)
        await kept.look()
        return JSONResponse({"name": name, "deleted": True, "also_deleted": gone[1:]})

    return routes


def _new_secret() -> tuple[str, str]:
    """A plain key, shown once, and its hash."""
    plain = f"sk-slipway-{secrets.token_urlsafe(32)}"
    return plain, sha256(plain.encode()).hexdigest()


def _shown(spec: APIKeySpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
