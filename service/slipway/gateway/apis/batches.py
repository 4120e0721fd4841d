"""`/v1/batches`: create, list, show, cancel."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from slipway.gateway.apis import Caller, page
from slipway.gateway.apis.bodies import checked, read_object
from slipway.gateway.batches import store
from slipway.gateway.batches.lines import ENDPOINTS
from slipway.gateway.errors import invalid_request
from slipway.gateway.storage.database import Database

Word = Annotated[str, StringConstraints(max_length=512)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class BatchRequest(BaseModel):
    """The body of POST /v1/batches."""

    model_config = ConfigDict(extra="forbid")

    input_file_id: str = Field(max_length=64)
    endpoint: str = Field(max_length=64, json_schema_extra={"enum": list(ENDPOINTS)})
    completion_window: Literal["24h"]
    metadata: Annotated[dict[Label, Word], Field(max_length=16)] | None = None


def router(
    caller: Caller, database: Database, now_us: Callable[[], int], created: Callable[[], None]
) -> APIRouter:
    """The routes of batches; `created` is told of each new one."""
    routes = APIRouter()

    def shown(row: Any) -> JSONResponse:
        return JSONResponse(store.describe(row, now_us()))

    @routes.post("/v1/batches")
    async def create(request: Request) -> JSONResponse:
        key = await caller(request)
        asked = checked(BatchRequest, await read_object(request))
        if asked.endpoint not in ENDPOINTS:
            raise invalid_request(
                f"`endpoint` must be one of {', '.join(f'`{each}`' for each in ENDPOINTS)}.", "endpoint"
            )
        row = await database.run(
            lambda connection: store.create(
                connection,
                owner=key.owner,
                key=key.name,
                endpoint=asked.endpoint,
                input_file=asked.input_file_id,
                metadata=asked.metadata,
                now_us=now_us(),
            )
        )
        created()
        return shown(row)

    @routes.get("/v1/batches")
    async def list_batches(
        request: Request,
        after: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> JSONResponse:
        key = await caller(request)
        rows, more = await database.run(lambda connection: store.listed(connection, key.owner, after, limit))
        now = now_us()
        return JSONResponse(page([store.describe(row, now) for row in rows], more=more))

    @routes.get("/v1/batches/{batch}")
    async def show(batch: str, request: Request) -> JSONResponse:
        key = await caller(request)
        return shown(await database.run(lambda connection: store.row_of(connection, batch, key.owner)))

    @routes.post("/v1/batches/{batch}/cancel")
    async def cancel(batch: str, request: Request) -> JSONResponse:
        key = await caller(request)
        row = await database.run(lambda connection: store.cancel(connection, batch, key.owner, now_us()))
        created()
        return shown(row)

    return routes
