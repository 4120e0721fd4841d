"""`GET /v1/audit`: who changed what, and what was refused to whom; for admins."""

from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from sqlalchemy import Row, select

from slipway.gateway.apis import Caller, page
from slipway.gateway.apis.owners import only_admins
from slipway.gateway.identity.tables import audit_log
from slipway.gateway.storage.database import Database

Text = Annotated[str | None, Query(max_length=253, pattern=r"^[^\x00]*$")]


def router(caller: Caller, database: Database) -> APIRouter:
    """The route of the audit log."""
    routes = APIRouter()

    @routes.get("/v1/audit")
    async def show(
        request: Request,
        actor: Text = None,
        action: Text = None,
        target: Text = None,
        after: Text = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> JSONResponse:
        only_admins(await caller(request), "The audit log")
        # Ids begin with the time: by them the newest come first, and a page goes on behind the one before.
        query = select(audit_log).order_by(audit_log.c.id.desc()).limit(limit + 1)
        for column, value in {"actor": actor, "action": action, "target": target}.items():
            if value is not None:
                query = query.where(audit_log.c[column] == value)
        if after is not None:
            query = query.where(audit_log.c.id < after)
        rows = await database.read(lambda connection: connection.execute(query).all())
        return JSONResponse(page([describe(row) for row in rows[:limit]], more=len(rows) > limit))

    return routes


def describe(row: Row[Any]) -> dict[str, Any]:
    """A line of the audit log as the API shows it."""
    at = datetime.fromtimestamp(row.at_us / 1_000_000, UTC)
    return {
        "id": row.id,
        "object": "audit.entry",
        "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "actor": row.actor,
        "actor_owner": row.actor_owner,
        "action": row.action,
        "target": row.target,
        "request_id": row.request_id,
        "details": None if row.details is None else orjson.loads(row.details),
    }
