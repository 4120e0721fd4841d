"""`GET /v1/limits`: how far the limits of the calling key, and of its owner, are used."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from slipway.gateway.apis import Caller
from slipway.gateway.catalog import Catalog
from slipway.gateway.limits import Level, LimitStore, subjects_of
from slipway.objects.money import dollars


def router(caller: Caller, catalog: Callable[[], Catalog], limits: LimitStore) -> APIRouter:
    """The route of limits."""
    routes = APIRouter()

    @routes.get("/v1/limits")
    async def show(request: Request) -> JSONResponse:
        key = await caller(request)
        snapshot = catalog().snapshot
        names = [name for name in snapshot.models if key.allows(name)]
        # "" is no model: it finds the limits of key and owner where there is none.
        found = (subject for name in (*names, "") for subject in subjects_of(key, name, snapshot))
        subjects = {subject.id: subject for subject in found if subject.model != ""}
        levels = await limits.levels(tuple(subjects.values()))
        return JSONResponse({"object": "list", "data": [describe(level) for level in levels]})

    return routes


_UNITS = {"budget": "usd", "tokens": "tokens", "requests": "requests", "max": "requests"}


def describe(level: Level) -> dict[str, Any]:
    """A limit and how far it is used; money in US dollars as decimal strings."""
    left = max(0, level.amount - level.used)
    numbers = {"amount": level.amount, "used": level.used, "remaining": left}
    shown: dict[str, Any] = dict(numbers)
    if level.limit.startswith("budget"):
        shown = {name: dollars(amount) for name, amount in numbers.items()}
    return {
        "subject": level.subject.kind,
        "name": level.subject.name,
        "model": level.subject.model,
        "limit": level.limit,
        **shown,
        "unit": _UNITS[level.limit.split("_")[0]],
        "resets_at": level.resets_at,
    }
