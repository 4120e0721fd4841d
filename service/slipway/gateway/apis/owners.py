"""`/v1/owners` and `/v1/audit`: for admins."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy import Connection, select

from slipway.gateway.apis import Caller, page
from slipway.gateway.apis.bodies import checked, id_of, read_object
from slipway.gateway.auth import Key
from slipway.gateway.catalog import Catalog
from slipway.gateway.errors import APIError, permission_denied
from slipway.gateway.identity import registry
from slipway.gateway.identity.audit import Audit
from slipway.gateway.identity.kept import KeptIdentities
from slipway.gateway.identity.tables import audit_log
from slipway.gateway.storage.database import Database
from slipway.objects import Owner, OwnerSpec


class _NewName(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=253)]


def router(
    caller: Caller,
    database: Database,
    catalog: Catalog,
    kept: KeptIdentities,
    audit: Audit,
    now_us: Callable[[], int],
) -> APIRouter:
    """The routes of owners and of the audit log."""
    routes = APIRouter()

    async def admin(request: Request, what: str) -> Key:
        who = await caller(request)
        if who.role != "admin":
            raise permission_denied(what)
        return who

    def declared(connection: Connection, name: str) -> None:
        """Refuse to change what comes from an object."""
        if name not in registry.all_owners(connection) and name in catalog.snapshot.owners:
            raise APIError(
                409, "declared_elsewhere", f"The owner `{name}` comes from an object: change it there."
            )

    async def put(request: Request, name: str, spec: OwnerSpec, who: Key, *, new: bool) -> JSONResponse:
        action = "owner.create" if new else "owner.change"

        def work(connection: Connection) -> None:
            declared(connection, name)
            registry.put_owner(connection, name, spec, now_us(), who.name, new=new)
            details = spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
            audit.changed(connection, who, action, name, id_of(request), **details)

        await database.run(work)
        await kept.look()
        return JSONResponse(described(name, spec), 201 if new else 200)

    @routes.get("/v1/owners")
    async def list_owners(
        request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> JSONResponse:
        await admin(request, "The list of owners")
        found = sorted(catalog.snapshot.owners.values(), key=lambda owner: owner.owner_name)
        rows = [described(each.owner_name, each.spec) for each in found[:limit]]
        return JSONResponse({"object": "list", "data": rows, "has_more": len(found) > limit})

    @routes.post("/v1/owners")
    async def create(request: Request) -> JSONResponse:
        who = await admin(request, "Making an owner")
        body = await read_object(request)
        name = checked(_NewName, {"name": body.pop("name", None)}).name
        return await put(request, name, checked(OwnerSpec, body), who, new=True)

    @routes.get("/v1/owners/{name:path}")
    async def show(name: str, request: Request) -> JSONResponse:
        await admin(request, "Looking at an owner")
        return JSONResponse(described(name, found(name).spec))

    @routes.patch("/v1/owners/{name:path}")
    async def change(name: str, request: Request) -> JSONResponse:
        who = await admin(request, "Changing an owner")
        body = await read_object(request)
        there = found(name).spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        merged = {field: value for field, value in {**there, **body}.items() if value is not None}
        merged.pop("name", None)
        return await put(request, name, checked(OwnerSpec, merged), who, new=False)

    @routes.delete("/v1/owners/{name:path}")
    async def remove(name: str, request: Request) -> JSONResponse:
        who = await admin(request, "Removing an owner")

        def work(connection: Connection) -> None:
            declared(connection, name)
            registry.remove_owner(connection, name)
            audit.changed(connection, who, "owner.remove", name, id_of(request))

        await database.run(work)
        await kept.look()
        return JSONResponse({"name": name, "deleted": True})

    @routes.get("/v1/audit")
    async def show_audit(
        request: Request,
        after: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        actor: Annotated[str | None, Query(max_length=253)] = None,
        action: Annotated[str | None, Query(max_length=64)] = None,
        target: Annotated[str | None, Query(max_length=253)] = None,
    ) -> JSONResponse:
        await admin(request, "The audit log")
        query = select(audit_log).order_by(audit_log.c.id.desc()).limit(limit + 1)
        wanted = {"actor": actor, "action": action, "target": target}
        for column, value in wanted.items():
            if value is not None:
                query = query.where(audit_log.c[column] == value)
        if after is not None:
            query = query.where(audit_log.c.id < after)
        rows = await database.run(lambda connection: connection.execute(query).mappings().all())
        return JSONResponse(page([entry(row) for row in rows[:limit]], more=len(rows) > limit))

    def found(name: str) -> Owner:
        owner = catalog.snapshot.owners.get(name)
        if owner is None:
            raise registry.no_such_owner(name)
        return owner

    return routes


def described(name: str, spec: OwnerSpec) -> dict[str, Any]:
    """An owner as the API shows it."""
    shown = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**shown, "name": name}


def entry(row: Any) -> dict[str, Any]:
    """A line of the audit log as the API shows it."""
    at = datetime.fromtimestamp(row["at_us"] / 1_000_000, UTC)
    return {
        "id": row["id"],
        "object": "audit.entry",
        "at": at.isoformat().replace("+00:00", "Z"),
        **{name: row[name] for name in ("actor", "actor_owner", "action", "target", "request_id")},
        "details": None if row["details"] is None else orjson.loads(row["details"]),
    }
