"""What is not relayed: models, health, metrics, the OpenAPI document, the console. FastAPI."""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from slipway import __version__
from slipway.gateway.apis import Caller, id_of, page, route_of
from slipway.gateway.auth import Key
from slipway.gateway.catalog import Catalog, Model
from slipway.gateway.console_files import ConsoleFiles
from slipway.gateway.errors import APIError, internal_error, invalid_request, model_not_found
from slipway.gateway.metrics import CONTENT_TYPE, Metrics
from slipway.gateway.openapi import document
from slipway.gateway.routes import Route
from slipway.gateway.routing import served


def error_response(error: APIError) -> Response:
    """An error answer outside the relayed routes."""
    response = Response(error.body(), error.status, media_type="application/json")
    response.raw_headers.extend(error.headers)
    return response


def describe(model: Model, *, admin: bool) -> dict[str, Any]:
    """A model as GET /v1/models shows it: OpenAI's fields, and what Slipway knows beside them.

    What is the matter names images, nodes and files, so that admins alone are told.
    """
    status = model.status
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "slipway",
        # What Anthropic's clients look for.
        "type": "model",
        "display_name": model.name,
        "created_at": datetime.fromtimestamp(model.created, UTC).isoformat(),
        "parent": model.parent,
        "task": model.task,
        "ready": bool(model.ready),
        "reason": model.cause if admin else model.why_not_ready,
        "state": status.state if status is not None else None,
        "status": status.as_json() if admin and status is not None else None,
    }


def readiness(catalog: Catalog, *, draining: bool, on_cluster: bool = False) -> tuple[bool, dict[str, Any]]:
    """Whether requests can be answered, and why not. Names only; nothing about keys or addresses.

    On a cluster a gateway is ready as soon as it knows the objects: one that no Service leads to could
    neither hold requests until a first engine is up nor say why there is none.
    """
    snapshot = catalog.snapshot
    models = [
        {"name": model.name, "ready": bool(model.ready), "reason": model.why_not_ready}
        for model in snapshot.models.values()
    ]
    if draining:
        reason: str | None = "the gateway is shutting down"
    elif not snapshot.loaded:
        reason = "the objects have not been read yet"
    elif on_cluster:
        reason = None
    elif not models:
        reason = "no model is served"
    elif not any(model["ready"] for model in models):
        reason = "no model has a ready engine"
    else:
        reason = None
    return reason is None, {"ready": reason is None, "reason": reason, "models": models}


def make_api(
    catalog: Catalog,
    metrics: Metrics,
    routes: Mapping[str, Route],
    *,
    caller: Caller,
    routers: Iterable[APIRouter],
    console: Path,
    connects: Callable[[], tuple[str, ...]],
    refused: Callable[[Key | None, str, str, str], None],
    draining: Callable[[], bool],
    on_cluster: bool,
    on_scrape: Callable[[], None],
) -> FastAPI:
    """The FastAPI application behind the front door."""
    app = FastAPI(
        title="Slipway",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    routers = tuple(routers)
    openapi = json.dumps(document(routes, routers, __version__)).encode()

    @app.get("/v1/models")
    async def list_models(request: Request) -> JSONResponse:
        key = await caller(request)
        snapshot = catalog.snapshot
        names = [name for name in dict.fromkeys((*snapshot.models, *snapshot.routes)) if key.allows(name)]
        models = [model for name in names if (model := served(snapshot, name)) is not None]
        return JSONResponse(
            page([describe(model, admin=key.role == "admin") for model in models], more=False)
        )

    @app.get("/v1/models/{name:path}")
    async def retrieve_model(name: str, request: Request) -> JSONResponse:
        key = await caller(request)
        model = served(catalog.snapshot, name)
        if model is None or not key.allows(name):
            raise model_not_found(name)
        return JSONResponse(describe(model, admin=key.role == "admin"))

    @app.get("/livez")
    async def livez() -> JSONResponse:
        return JSONResponse({"live": True})

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        ready, body = readiness(catalog, draining=draining(), on_cluster=on_cluster)
        headers = {} if ready else {"retry-after": "2", "retry-after-ms": "2000"}
        return JSONResponse(body, 200 if ready else 503, headers=headers)

    @app.get("/metrics")
    async def scrape() -> Response:
        on_scrape()
        return Response(metrics.scrape(), media_type=CONTENT_TYPE)

    @app.get("/openapi.json")
    async def openapi_document() -> Response:
        return Response(openapi, media_type="application/json")

    for router in routers:
        app.include_router(router)
    for route in routes.values():
        # Never reached: the front door answers these. Here they make GET on them a 405 rather than a 404.
        app.add_api_route(route.path, _unreachable, methods=["POST"], include_in_schema=False)

    app.router.default = ConsoleFiles(console, connects)

    async def api_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, APIError)  # noqa: S101
        who: Key | None = getattr(request.state, "caller", None)
        if error.status in (403, 404) and who is not None:
            refused(who, error.code, route_of(request), id_of(request))
        return error_response(error)

    app.add_exception_handler(APIError, api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(Exception, _fault)
    return app


async def _unreachable() -> None:
    raise AssertionError("relayed routes are answered by the front door")


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    method, path = request.method, request.url.path if len(request.scope["path"]) < 100 else "this path"
    if error.status_code == 405:
        allow = [
            (b"allow", value.encode())
            for name, value in (error.headers or {}).items()
            if name.lower() == "allow"
        ]
        message = f"{path} does not take {method}."
        return error_response(APIError(405, "method_not_allowed", message, headers=allow))
    if error.status_code == 404:
        return error_response(APIError(404, "not_found", "There is nothing at this path; see /openapi.json."))
    return error_response(APIError(error.status_code, "http_error", "The request was refused."))


async def _fault(request: Request, error: Exception) -> Response:
    return error_response(internal_error())  # Starlette raises it again, and the front door logs it.


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return error_response(invalid_request(f"`{where}`: {first['msg']}.", where))
