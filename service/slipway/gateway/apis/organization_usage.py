"""`/v1/organization/usage/…` and `/v1/organization/costs`: OpenAI's reports, for admins."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from slipway.gateway.apis import Caller
from slipway.gateway.errors import invalid_request, permission_denied
from slipway.gateway.storage.database import Database
from slipway.gateway.usage.buckets import COMPLETIONS, COSTS, EMBEDDINGS, WIDTHS, Report, Span, page_of
from slipway.gateway.usage.reports import Filters

# By width: how many buckets a page has, and may have.
_PAGES = {"1m": (60, 1440), "1h": (24, 168), "1d": (7, 31)}
_COST_PAGE = (7, 180)
_LATEST = 1 << 32
"""Seconds since 1970 in the year 2106; a later time is taken for this one."""

_GROUP_BY = "group_by"
Seconds = Annotated[int, Query(ge=0, lt=1 << 53)]


def router(caller: Caller, database: Database, now_us: Callable[[], int]) -> APIRouter:
    """The routes of OpenAI's usage and costs."""
    routes = APIRouter(prefix="/v1/organization")

    def add(path: str, report: Report, widths: dict[str, tuple[int, int]]) -> None:
        extra = {"parameters": _lists(report)}

        @routes.get(path, name=path, openapi_extra=extra)
        async def show(
            request: Request,
            start_time: Seconds,
            end_time: Annotated[int | None, Query(ge=0, lt=1 << 53)] = None,
            bucket_width: Annotated[str, Query(json_schema_extra={"enum": list(widths)})] = "1d",
            limit: Annotated[int | None, Query(ge=1)] = None,
            page: Annotated[str | None, Query(max_length=32)] = None,
            batch: bool | None = None,
        ) -> JSONResponse:
            who = await caller(request)
            if who.role != "admin":
                raise permission_denied("The organization's usage")
            if bucket_width not in widths:
                raise invalid_request(f"`bucket_width` takes {', '.join(widths)}.", "bucket_width")
            usual, most = widths[bucket_width]
            if limit is not None and limit > most:
                raise invalid_request(f"`limit` is at most {most} for this bucket_width.", "limit")
            groups = _several(request, _GROUP_BY)
            for name in groups:
                if name not in report.groups:
                    raise invalid_request(
                        f"`group_by` takes {', '.join(report.groups)}; not `{name}`.", "group_by"
                    )
            end = end_time if end_time is not None else now_us() // 1_000_000 + 1
            begin = min(_begin(start_time, page), _LATEST)
            span = Span(begin, min(end, _LATEST), WIDTHS[bucket_width], limit or usual)
            filters = Filters(
                _owners(request),
                _several(request, "api_key_ids"),
                (*_several(request, "models"), *_several(request, "line_items")),
            )
            return JSONResponse(
                await database.read(
                    lambda connection: page_of(connection, report, span, groups, filters, batch)
                )
            )

    add("/usage/completions", COMPLETIONS, _PAGES)
    add("/usage/embeddings", EMBEDDINGS, _PAGES)
    add("/costs", COSTS, {"1d": _COST_PAGE})
    return routes


def _lists(report: Report) -> list[dict[str, Any]]:
    """The parameters that `_several` reads, for the OpenAPI document."""
    names = {"type": "string", "maxLength": 253}
    return [
        {
            "name": name,
            "in": "query",
            "description": f"Once for each; `{name}[]` says the same.",
            "schema": {
                "type": "array",
                "items": {"enum": list(report.groups)} if name == _GROUP_BY else names,
                "maxItems": 100,
            },
        }
        for name in (_GROUP_BY, "project_ids", "user_ids", "api_key_ids", "models", "line_items")
    ]


def _several(request: Request, name: str) -> tuple[str, ...]:
    """A list in the query, as OpenAI's clients write it (`name[]`) or plainly repeated."""
    values = request.query_params.getlist(name) + request.query_params.getlist(f"{name}[]")
    if len(values) > 100 or any(len(value) > 253 or "\0" in value for value in values):
        raise invalid_request(f"`{name}` takes at most 100 names.", name)
    return tuple(dict.fromkeys(values))


def _owners(request: Request) -> tuple[str, ...]:
    projects, users = _several(request, "project_ids"), _several(request, "user_ids")
    if projects and users:
        both = tuple(name for name in projects if name in users)
        return both or ("",)  # No owner has an empty name.
    return projects or users


def _begin(start_time: int, page: str | None) -> int:
    if page is None:
        return start_time
    number = page.removeprefix("page_")
    if not (number.isascii() and number.isdigit() and len(number) < 13):
        raise invalid_request("`page` must be `next_page` of the page before.", "page")
    return int(number)
