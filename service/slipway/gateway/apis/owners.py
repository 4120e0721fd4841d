"""`/v1/owners`: people and teams, for admins."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import Connection

from slipway.gateway.apis import Caller
from slipway.gateway.apis.bodies import changed, checked, read_object
from slipway.gateway.apis.changing import Changing
from slipway.gateway.auth import Key
from slipway.gateway.catalog import Catalog
from slipway.gateway.errors import APIError, invalid_request, permission_denied
from slipway.gateway.identity import registry
from slipway.gateway.identity.audit import Change
from slipway.gateway.identity.kept import KeptIdentities
from slipway.objects import OwnerName, OwnerSpec


class _NewName(BaseModel):
    name: OwnerName


def router(
    caller: Caller,
    changing: Changing,
    catalog: Catalog,
    kept: KeptIdentities,
    now_us: Callable[[], int],
) -> APIRouter:
    """The routes of owners."""
    routes = APIRouter()

    def found(name: str) -> OwnerSpec:
        owner = catalog.snapshot.owners.get(name)
        if owner is None:
            raise registry.no_such_owner(name)
        return owner.spec

    def changeable(name: str) -> OwnerSpec:
        """An owner of the database."""
        there = kept.owner(name)
        if there is None:
            found(name)
            raise APIError(
                409, "declared_elsewhere", f"The owner `{name}` comes from an object: change it there."
            )
        return there

    @routes.get("/v1/owners")
    async def list_owners(
        request: Request,
        after: Annotated[str | None, Query(max_length=253)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> JSONResponse:
        only_admins(await caller(request), "The list of owners")
        owners = catalog.snapshot.owners
        rest = sorted(name for name in owners if after is None or name > after)
        page = rest[:limit]
        return JSONResponse(
            {
                "object": "list",
                "data": [describe(name, owners[name].spec) for name in page],
                "first_id": page[0] if page else None,
                "last_id": page[-1] if page else None,
                "has_more": len(rest) > limit,
            }
        )

    @routes.post("/v1/owners")
    async def create(request: Request) -> JSONResponse:
        only_admins(await caller(request), "Making an owner")
        body = await read_object(request)
        name = checked(_NewName, {"name": body.pop("name", None)}).name
        spec = checked(OwnerSpec, body)

        def work(connection: Connection, who: Key) -> tuple[None, Change]:
            only_admins(who, "Making an owner")
            if name in catalog.snapshot.owners:
                raise registry.name_taken("owner", name)
            registry.add_owner(connection, name, spec, now_us(), who.name)
            return None, Change("owner.create", name, body)

        await changing(request, work)
        return JSONResponse(describe(name, spec), 201)

    @routes.get("/v1/owners/{name:path}")
    async def show(name: str, request: Request) -> JSONResponse:
        only_admins(await caller(request), "Looking at an owner")
        return JSONResponse(describe(name, found(name)))

    @routes.patch("/v1/owners/{name:path}")
    async def change(name: str, request: Request) -> JSONResponse:
        only_admins(await caller(request), "Changing an owner")
        body = await read_object(request)
        if "name" in body:
            raise invalid_request("An owner keeps its name: make another, and give it the keys.", "name")

        def work(connection: Connection, who: Key) -> tuple[OwnerSpec, Change]:
            only_admins(who, "Changing an owner")
            spec = changed(OwnerSpec, changeable(name), body)
            registry.change_owner(connection, name, spec)
            return spec, Change("owner.change", name, body)

        return JSONResponse(describe(name, await changing(request, work)))

    @routes.delete("/v1/owners/{name:path}")
    async def remove(name: str, request: Request) -> JSONResponse:
        def work(connection: Connection, who: Key) -> tuple[None, Change]:
            only_admins(who, "Removing an owner")
            changeable(name)
            registry.remove_owner(connection, name)
            return None, Change("owner.remove", name, {})

        await changing(request, work)
        return JSONResponse({"name": name, "deleted": True})

    return routes


def only_admins(who: Key, what: str) -> None:
    """Raise the 403 for everybody else."""
    if who.role != "admin":
        raise permission_denied(what)


def describe(name: str, spec: OwnerSpec) -> dict[str, Any]:
    """An owner as the API shows it."""
    shown = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**shown, "name": name, "id": name, "object": "owner"}
