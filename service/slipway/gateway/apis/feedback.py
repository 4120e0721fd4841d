"""`/v1/feedback`: thumbs up or down on an answer with a comment, kept with the request's id; their list."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any, Literal, Self

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import Connection, Row

from slipway.gateway.apis import Caller, page
from slipway.gateway.errors import invalid_request, permission_denied
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
    consent: bool | None = None
    """Whether it may be learned from. Left out: where the conversation comes with it."""

    @model_validator(mode="after")
    def _kept_by_consent(self) -> Self:
        if self.consent is False and self.messages is not None:
            raise ValueError("`messages` are kept only with `consent`; leave them out, or agree")
        return self

    @property
    def agreed(self) -> bool:
        """Whether it may be learned from."""
        return self.messages is not None if self.consent is None else self.consent


def router(
    caller: Caller,
    database: Database,
    now_us: Callable[[], int],
    rated: Callable[[str, str], None],
    *,
    recorded: bool,
) -> APIRouter:
    """The routes of feedback.

    `recorded` says that requests leave usage records to be found by; `rated` hears of each rating by model.
    """
    routes = APIRouter()

    async def answered(request_id: str, owner: str) -> store.Answered:
        if not recorded:
            return store.Answered("", "")  # Nobody can tell whose request it was: the caller is believed.
        for _ in range(int(PATIENCE / _EVERY)):
            found = await database.run(lambda connection: store.answered(connection, request_id, owner))
            if found is not None:
                return found
            await asyncio.sleep(_EVERY)
        raise store.request_not_found(request_id)

    @routes.post("/v1/feedback")
    async def give(request: Request) -> JSONResponse:
        key = await caller(request)
        asked = await _read(request)
        by = await answered(asked.request_id, key.owner)
        said = store.Said(
            request_id=asked.request_id,
            rating=asked.rating,
            comment=asked.comment,
            expected=asked.expected,
            messages=None if asked.messages is None else [each.model_dump() for each in asked.messages],
            consent=asked.agreed,
        )
        row = await database.run(
            lambda connection: store.keep(
                connection, said, key=key.name, owner=key.owner, by=by, now_us=now_us()
            )
        )
        rated(by.model, asked.rating)
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

    @routes.get("/v1/feedback/export")
    async def export(
        request: Request,
        owner: Annotated[str | None, Query(max_length=253)] = None,
        model: Annotated[str | None, Query(max_length=253)] = None,
        rating: Literal["up", "down"] | None = None,
        since: Annotated[int, Query(ge=0, le=2**40)] = 0,
    ) -> StreamingResponse:
        who = await caller(request)
        if who.role != "admin":
            raise permission_denied("An export of feedback")
        filters = {"owner": owner, "model": model, "rating": rating}
        first = await database.read(lambda connection: _page(connection, filters, since, _BEGIN))
        return StreamingResponse(
            _lines(database, filters, since, first), media_type="application/jsonl", headers=_ATTACHED
        )

    return routes


_BEGIN = (0, "")
_PAGE = 500
_ATTACHED = {"content-disposition": 'attachment; filename="feedback.jsonl"'}


def _page(
    connection: Connection, filters: Mapping[str, str | None], since: int, last: tuple[int, str]
) -> list[Row[Any]]:
    return store.exported(connection, filters, since * 1_000_000, last, _PAGE)


async def _lines(
    database: Database, filters: Mapping[str, str | None], since: int, rows: list[Row[Any]]
) -> AsyncIterator[bytes]:
    """A page at a time, so that neither memory nor a transaction holds all of it."""
    while rows:
        yield b"".join(orjson.dumps(store.describe(row)) + b"\n" for row in rows)
        last = (rows[-1].created_us, rows[-1].id)
        rows = await database.read(lambda connection, last=last: _page(connection, filters, since, last))  # type: ignore[misc]


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
