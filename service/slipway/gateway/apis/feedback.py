"""`/v1/feedback`: thumbs up or down on an answer with a comment, kept with the request's id; their list."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from slipway.gateway.apis import Caller, page
from slipway.gateway.errors import invalid_request
from slipway.gateway.feedback import store
from slipway.gateway.requests import LeftError, read_body, read_head
from slipway.gateway.storage.database import Database

LARGEST = 1_048_576
"""Bytes of one feedback, a conversation that comes with it included."""
SLOWEST = 30.0
"""Seconds that its body may take."""
PATIENCE = 5.0
"""Seconds that a request may take to be recorded after its answer; feedback waits so long for it."""
_EVERY = 0.2


def _storable(text: str) -> str:
    """PostgreSQL keeps no NUL."""
    if "\0" in text:
        raise ValueError("cannot contain the character NUL")
    return text


Text = Annotated[str, AfterValidator(_storable)]


class Message(BaseModel):
    """A message of the conversation that the answer belongs to."""

    model_config = ConfigDict(extra="forbid")

    role: Annotated[Text, Field(min_length=1, max_length=32)]
    content: Annotated[Text, Field(max_length=500_000)]


class FeedbackRequest(BaseModel):
    """The body of POST /v1/feedback."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    rating: Literal["up", "down"]
    comment: Annotated[Text, Field(max_length=2000)] | None = None
    expected: Annotated[Text, Field(max_length=20_000)] | None = None
    messages: Annotated[list[Message], Field(min_length=1, max_length=2048)] | None = None


def router(caller: Caller, database: Database, now_us: Callable[[], int], *, recorded: bool) -> APIRouter:
    """The routes of feedback. `recorded` says that requests leave usage records to be found by."""
    routes = APIRouter()

    async def model_of(request_id: str, owner: str) -> str:
        if not recorded:
            return ""  # Nobody can tell whose request it was: the caller is believed.
        for _ in range(int(PATIENCE / _EVERY)):
            model = await database.run(lambda connection: store.model_of(connection, request_id, owner))
            if model is not None:
                return model
            await asyncio.sleep(_EVERY)
        raise store.request_not_found(request_id)

    @routes.post("/v1/feedback")
    async def give(request: Request) -> JSONResponse:
        key = await caller(request)
        asked = await _read(request)
        model = await model_of(asked.request_id, key.owner)
        said = store.Said(
            request_id=asked.request_id,
            rating=asked.rating,
            comment=asked.comment,
            expected=asked.expected,
            messages=None if asked.messages is None else [each.model_dump() for each in asked.messages],
        )
        row = await database.run(
            lambda connection: store.keep(
                connection, said, key=key.name, owner=key.owner, model=model, now_us=now_us()
            )
        )
        return JSONResponse(store.describe(row))

    @routes.get("/v1/feedback")
    async def list_feedback(
        request: Request,
        owner: Annotated[str | None, Query(max_length=253)] = None,
        key: Annotated[str | None, Query(max_length=253)] = None,
        model: Annotated[str | None, Query(max_length=253)] = None,
        rating: Literal["up", "down"] | None = None,
        request_id: Annotated[str | None, Query(max_length=64)] = None,
        after: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> JSONResponse:
        who = await caller(request)
        if who.role != "admin":
            owner = who.owner
        filters = {"owner": owner, "key": key, "model": model, "rating": rating, "request_id": request_id}
        rows, more = await database.run(lambda connection: store.listed(connection, filters, after, limit))
        return JSONResponse(page([store.describe(row) for row in rows], more=more))

    return routes


async def _read(request: Request) -> FeedbackRequest:
    try:
        body = await read_body(
            read_head(request.scope["headers"]), request.receive, LARGEST, SLOWEST, ready=False
        )
    except LeftError:
        raise invalid_request("The body ended before it was complete.") from None
    try:
        return FeedbackRequest.model_validate_json(body)
    except ValidationError as error:
        first: list[Any] = error.errors(include_url=False, include_input=False)
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in first]) from None
