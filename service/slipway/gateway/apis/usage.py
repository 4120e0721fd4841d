"""`/v1/usage`, its receipt, and `/v1/requests/{id}`: a member sees its owner's, an admin everybody's."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from slipway.gateway.apis import Caller
from slipway.gateway.auth import Key
from slipway.gateway.errors import APIError, invalid_request, permission_denied
from slipway.gateway.requests import REQUEST_ID
from slipway.gateway.storage.database import Database
from slipway.gateway.usage.receipts import Counted, receipt
from slipway.gateway.usage.reports import GROUPS, Filters, records_of, usage_by
from slipway.gateway.usage.segments import INSTANCE

DAYS = 30
"""Days of a report that says nothing else."""
RECEIPT_DAYS = 7
MOST_ROWS = 10_000

Names = Annotated[str | None, Query(max_length=4096)]
Day = Annotated[date | None, Query()]


def router(caller: Caller, database: Database, now_us: Callable[[], int]) -> APIRouter:
    """The routes of usage."""
    routes = APIRouter()

    def days(start: date | None, end: date | None, usual: int) -> tuple[date, date]:
        last = end or datetime.fromtimestamp(now_us() / 1_000_000, UTC).date()
        first = start or last - timedelta(days=min(usual - 1, last.toordinal() - 1))
        if first > last:
            raise invalid_request("`start` must not be after `end`.", "start")
        return first, last

    @routes.get("/v1/usage")
    async def usage(
        request: Request,
        group_by: Annotated[str, Query(max_length=256)] = "",
        start: Day = None,
        end: Day = None,
        owner: Names = None,
        key: Names = None,
        model: Names = None,
        limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = MOST_ROWS,
        offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    ) -> JSONResponse:
        who = await caller(request)
        groups = _listed(group_by)
        for name in groups:
            if name not in GROUPS:
                raise invalid_request(f"`group_by` takes {', '.join(GROUPS)}; not `{name}`.", "group_by")
        first, last = days(start, end, DAYS)
        filters = _filters(who, _listed(owner), _listed(key), _listed(model))
        rows, total = await database.read(
            lambda connection: (
                usage_by(connection, groups, filters, first, last, limit=limit + 1, offset=offset),
                usage_by(connection, (), filters, first, last, limit=1),
            )
        )
        more = len(rows) > limit
        return JSONResponse(
            {
                "object": "list",
                "start": first.isoformat(),
                "end": last.isoformat(),
                "group_by": groups,
                "data": rows[:limit],
                "total": total[0],
                "has_more": more,
                "next_offset": offset + limit if more else None,
            }
        )

    @routes.get("/v1/usage/receipt")
    async def give_receipt(
        request: Request,
        start: Day = None,
        gateway: Annotated[list[str] | None, Query(max_length=100)] = None,
    ) -> JSONResponse:
        who = await caller(request)
        if who.role != "admin":
            raise permission_denied("The receipt over everybody's usage")
        first, _ = days(start, None, RECEIPT_DAYS)
        counted = [_counted(each) for each in gateway or ()]
        return JSONResponse(await database.read(lambda connection: receipt(connection, first, counted)))

    @routes.get("/v1/requests/{request_id}")
    async def show_request(request_id: str, request: Request) -> JSONResponse:
        who = await caller(request)
        filters = _filters(who, (), (), ())
        known = REQUEST_ID.fullmatch(request_id.encode())
        found = (
            await database.read(lambda connection: records_of(connection, request_id, filters))
            if known
            else []
        )
        if not found:
            raise APIError(
                404,
                "request_not_found",
                "No request of yours with this id is recorded. Records come a moment after the answer.",
            )
        newest, *earlier = found
        return JSONResponse({**newest, "earlier": earlier})

    return routes


def _filters(who: Key, owners: tuple[str, ...], keys: tuple[str, ...], models: tuple[str, ...]) -> Filters:
    if who.role != "admin":
        if any(owner != who.owner for owner in owners):
            raise permission_denied("Usage of other owners")
        owners = (who.owner,)
    return Filters(owners, keys, models)


def _listed(names: str | None) -> tuple[str, ...]:
    """Names with commas between them; without NUL, which PostgreSQL does not take."""
    return tuple(dict.fromkeys(name for name in (names or "").replace("\0", "").split(",") if name))


def _counted(text: str) -> Counted:
    """`INSTANCE:COUNT`, both as a gateway's metrics give them."""
    instance, _, closed = text.partition(":")
    if not INSTANCE.fullmatch(instance) or not (closed.isascii() and closed.isdigit() and len(closed) < 16):
        raise invalid_request("`gateway` is INSTANCE:COUNT, both from a gateway's metrics.", "gateway")
    return Counted(instance, int(closed))
