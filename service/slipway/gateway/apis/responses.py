"""`/v1/responses/{id}`: show, delete, cancel, and what it was made from. Making one is relayed."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from slipway.gateway.apis import Caller, page
from slipway.gateway.errors import invalid_request
from slipway.gateway.responses import store
from slipway.gateway.responses.background import follow
from slipway.gateway.responses.handling import Responses
from slipway.gateway.storage.database import Database


def router(caller: Caller, database: Database, responses: Responses) -> APIRouter:
    """The routes of responses that are kept."""
    routes = APIRouter()

    @routes.get("/v1/responses/{response}")
    async def show(
        response: str,
        request: Request,
        stream: bool = False,
        starting_after: Annotated[int, Query(ge=-1, le=2**31 - 1)] = -1,
    ) -> Response:
        key = await caller(request)
        row = await database.run(lambda connection: store.row_of(connection, response, key.owner))
        if not stream:
            return JSONResponse(store.shown(row))
        if not row.stream:
            raise invalid_request(
                "`stream` needs a response that was asked for with `background: true` and `stream: true`.",
                "stream",
            )
        events = follow(database, response, key.owner, starting_after)
        return StreamingResponse(
            events, media_type="text/event-stream", headers={"cache-control": "no-cache"}
        )

    @routes.delete("/v1/responses/{response}")
    async def delete(response: str, request: Request) -> JSONResponse:
        key = await caller(request)
        await database.run(lambda connection: store.remove(connection, response, key.owner))
        responses.unwanted(response)
        return JSONResponse({"id": response, "object": "response", "deleted": True})

    @routes.post("/v1/responses/{response}/cancel")
    async def cancel(response: str, request: Request) -> JSONResponse:
        key = await caller(request)
        row = await database.run(lambda connection: store.cancel(connection, response, key.owner))
        responses.unwanted(response)
        return JSONResponse(store.shown(row))

    @routes.get("/v1/responses/{response}/input_items")
    async def input_items(
        response: str,
        request: Request,
        after: Annotated[str | None, Query(max_length=128)] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        order: Literal["asc", "desc"] = "desc",
    ) -> JSONResponse:
        key = await caller(request)
        items = await database.run(
            lambda connection: store.inputs(connection, response, key.owner, responses.bounds)
        )
        if order == "desc":
            items.reverse()
        return JSONResponse(_page(items, after, limit))

    return routes


def _page(items: list[dict[str, Any]], after: str | None, limit: int) -> dict[str, Any]:
    if after is not None:
        ids = [item["id"] for item in items]
        if after not in ids:
            raise invalid_request("`after` is not the id of one of these items.", "after")
        items = items[ids.index(after) + 1 :]
    return page(items[:limit], more=len(items) > limit)
