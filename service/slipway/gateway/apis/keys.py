"""`/v1/keys`: make, list, change, rotate and revoke keys. A member sees and makes those of its owner."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import Connection

from slipway.gateway.apis import Caller
from slipway.gateway.apis.bodies import changed, checked, read_object
from slipway.gateway.apis.changing import Changing
from slipway.gateway.apis.me import described
from slipway.gateway.auth import Key
from slipway.gateway.catalog import Catalog
from slipway.gateway.errors import APIError
from slipway.gateway.identity import delegation, registry
from slipway.gateway.identity.audit import Change
from slipway.gateway.identity.kept import DEEPEST, KeptIdentities, key_of
from slipway.objects import APIKeySpec
from slipway.objects.meta import Name
from slipway.objects.plainkeys import key_hash, new_key

LONGEST_OVERLAP = 90 * 86_400
"""Seconds that a rotated key's secret before it may go on working."""
MOST_KEYS = 1000
"""Keys of an owner beyond which its members make no more."""


class _NewName(BaseModel):
    name: Name


class Rotation(BaseModel):
    """The body of POST /v1/keys/NAME/rotate."""

    model_config = ConfigDict(extra="forbid")

    grace_seconds: Annotated[int, Field(alias="graceSeconds", ge=0, le=LONGEST_OVERLAP)] = 86_400


Text = Annotated[str, StringConstraints(max_length=253)]


def router(
    caller: Caller,
    changing: Changing,
    catalog: Catalog,
    kept: KeptIdentities,
    now_us: Callable[[], int],
) -> APIRouter:
    """The routes of keys."""
    routes = APIRouter()

    def visible(who: Key) -> list[Key]:
        every = catalog.snapshot.keyring.all()
        return every if who.role == "admin" else [key for key in every if key.owner == who.owner]

    def found(who: Key, name: str) -> Key:
        key = catalog.snapshot.keyring.named(name)
        if key is None or (who.role != "admin" and key.owner != who.owner):
            raise registry.no_such_key(name)
        return key

    def changeable(who: Key, name: str) -> registry.Kept:
        """A key of the database that the caller may change: one it made, or that may do no more."""
        key, there = found(who, name), kept.named(name)
        if key.declared or there is None:
            raise APIError(
                409,
                "declared_elsewhere",
                f"The key `{name}` comes from an object: change it there (`slipway key`, or its file).",
            )
        if who.name not in [maker.name for maker in key.makers]:
            delegation.check(who, there.spec)
        return there

    def shown(there: registry.Kept) -> dict[str, Any]:
        """A key as it is after this change, which is not in force yet."""
        return describe(key_of(there, maker_of(there)), there)

    def maker_of(there: registry.Kept) -> Key | None:
        key = catalog.snapshot.keyring.named(there.name)
        return key.makers[0] if key is not None and key.makers else None

    @routes.post("/v1/keys")
    async def create(request: Request) -> JSONResponse:
        await caller(request)
        body = await read_object(request)
        name = checked(_NewName, {"name": body.pop("name", None)}).name
        plain = new_key()
        digest = key_hash(plain)

        def work(connection: Connection, who: Key) -> tuple[tuple[registry.Kept, Key], Change]:
            spec = delegation.filled(who, checked(APIKeySpec, {"owner": who.owner, **body}))
            delegation.check(who, spec)
            if catalog.snapshot.keyring.named(name) is not None:
                raise registry.name_taken("key", name)
            if who.role != "admin":
                _bound(who, len(visible(who)))
            maker = None if who.role == "admin" else who.name
            there = registry.Kept(name, spec, digest, None, None, now_us(), who.name, maker)
            registry.add_key(connection, there)
            return (there, who), Change("key.create", name, _written(spec))

        there, who = await changing(request, work)
        made = describe(key_of(there, who if there.maker is not None else None), there)
        return JSONResponse({**made, "key": plain}, 201)

    @routes.get("/v1/keys")
    async def list_keys(
        request: Request,
        after: Annotated[Text | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> JSONResponse:
        rest = [key for key in visible(await caller(request)) if after is None or key.name > after]
        page = rest[:limit]
        return JSONResponse(
            {
                "object": "list",
                "data": [describe(key, kept.named(key.name)) for key in page],
                "first_id": page[0].name if page else None,
                "last_id": page[-1].name if page else None,
                "has_more": len(rest) > limit,
            }
        )

    @routes.get("/v1/keys/{name}")
    async def show(name: str, request: Request) -> JSONResponse:
        key = found(await caller(request), name)
        return JSONResponse(describe(key, kept.named(name)))

    @routes.patch("/v1/keys/{name}")
    async def change(name: str, request: Request) -> JSONResponse:
        found(await caller(request), name)
        body = await read_object(request)

        def work(connection: Connection, who: Key) -> tuple[dict[str, Any], Change]:
            there = changeable(who, name)
            spec = changed(APIKeySpec, there.spec, body)
            delegation.check(who, spec)
            maker = there.maker
            if who.role == "admin" and maker is not None and not delegation.within(maker_of(there), spec):
                maker = None  # More than its maker may: from now on it is the admin's.
            registry.change_key(connection, name, spec, maker)
            return shown(replace(there, spec=spec, maker=maker)), Change("key.change", name, body)

        return JSONResponse(await changing(request, work))

    @routes.post("/v1/keys/{name}/rotate")
    async def rotate(name: str, request: Request) -> JSONResponse:
        found(await caller(request), name)
        asked = checked(Rotation, await read_object(request, empty=True))
        plain = new_key()
        digest = key_hash(plain)
        until_us = now_us() + asked.grace_seconds * 1_000_000

        def work(connection: Connection, who: Key) -> tuple[registry.Kept, Change]:
            there = changeable(who, name)
            registry.rotate_key(connection, name, digest, until_us)
            return there, Change("key.rotate", name, {"graceSeconds": asked.grace_seconds})

        there = await changing(request, work)
        return JSONResponse({**shown(there), "previousUntil": _time(until_us), "key": plain})

    @routes.delete("/v1/keys/{name}")
    async def revoke(name: str, request: Request) -> JSONResponse:
        def work(connection: Connection, who: Key) -> tuple[list[str], Change]:
            changeable(who, name)
            gone = registry.revoke_key(connection, name)
            return gone, Change("key.revoke", name, {"alsoDeleted": gone[1:]} if gone[1:] else {})

        gone = await changing(request, work)
        return JSONResponse({"name": name, "deleted": True, "alsoDeleted": gone[1:]})

    return routes


def describe(key: Key, there: registry.Kept | None) -> dict[str, Any]:
    """A key as it is in force, and what the database knows of how it came to be."""
    return {
        **described(key),
        "id": key.name,
        "object": "key",
        "createdAt": None if there is None else _time(there.created_us),
        "createdBy": None if there is None else there.created_by,
        "maker": None if there is None else there.maker,
    }


def _bound(who: Key, keys: int) -> None:
    if keys >= MOST_KEYS:
        raise delegation.DeniedError(f"Your owner has {keys} keys: revoke some, or ask an admin for more.")
    if len(who.makers) >= DEEPEST:
        raise delegation.DeniedError(
            "Your key was made with a key that was made with a key: ask for another."
        )


def _written(spec: APIKeySpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


def _time(us: int) -> str:
    return datetime.fromtimestamp(us / 1_000_000, UTC).isoformat(timespec="seconds")
