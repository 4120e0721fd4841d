"""`/v1/fine_tuning/jobs`: create, list, show, cancel, pause, resume; events, checkpoints."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse
from sqlalchemy import Connection

from slipway.gateway.apis import Caller, id_of, page
from slipway.gateway.apis.bodies import checked, read_object
from slipway.gateway.auth import Key
from slipway.gateway.catalog import Catalog, Model
from slipway.gateway.errors import APIError, invalid_request, model_not_found, retry_after
from slipway.gateway.finetuning import histories, store
from slipway.gateway.finetuning.places import AwayError
from slipway.gateway.finetuning.requests import FineTuningJobRequest, resolved
from slipway.gateway.finetuning.runner import FineTuningRunner
from slipway.gateway.finetuning.signing import Signing
from slipway.gateway.finetuning.store import Asked, Base, Job
from slipway.gateway.identity.audit import Audit, Change

Identity = Annotated[str | None, Query(max_length=128)]
_CHANGES: dict[str, Callable[[Connection, str, str, int], Job]] = {
    "cancel": store.cancel,
    "pause": lambda connection, job, owner, now: store.pause(connection, job, owner),
    "resume": lambda connection, job, owner, now: store.resume(connection, job, owner),
}


def router(
    caller: Caller,
    catalog: Catalog,
    audit: Audit,
    runner: FineTuningRunner | None,
    signing: Signing | None,
    now_us: Callable[[], int],
    most: int,
) -> APIRouter:
    """The routes of fine-tuning jobs.

    Without a `runner` there are none; with `signing` examples can be read at signed addresses. `most` jobs of
    one owner may be under way.
    """
    routes = APIRouter()

    def required() -> FineTuningRunner:
        if runner is None or not most:
            raise invalid_request("Fine-tuning is not offered here.", code="not_offered")
        return runner

    async def change(request: Request, job: str, action: str) -> JSONResponse:
        key = await caller(request)
        here = required()
        done = Change(f"fine_tuning_job.{action}", job[:64], {})

        def work(connection: Connection) -> Job:
            row = _CHANGES[action](connection, job, key.owner, now_us())
            audit.changed(connection, key, done, id_of(request))
            return row

        row = await here.database.run(work)
        audit.tell(key, done, id_of(request))
        here.kick()
        return JSONResponse(store.describe(row))

    @routes.post("/v1/fine_tuning/jobs")
    async def create(request: Request) -> JSONResponse:
        key = await caller(request)
        here = required()
        asked = checked(FineTuningJobRequest, await read_object(request))
        base = _base(key, catalog, asked.model, here.places.namespace)
        made = Asked(
            asked.training_file,
            asked.validation_file,
            resolved(asked),
            asked.suffix,
            asked.seed,
            asked.metadata,
        )

        def work(connection: Connection) -> tuple[Job, Change]:
            row = store.create(
                connection, made, base, owner=key.owner, key=key.name, most=most, now_us=now_us()
            )
            details = {"model": base.model, "training_file": asked.training_file}
            change = Change("fine_tuning_job.create", row.id, details)
            audit.changed(connection, key, change, id_of(request))
            return row, change

        row, change = await here.database.run(work)
        audit.tell(key, change, id_of(request))
        here.kick()
        return JSONResponse(store.describe(row))

    @routes.get("/v1/fine_tuning/jobs")
    async def list_jobs(
        request: Request,
        after: Identity = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> JSONResponse:
        key = await caller(request)
        wanted = _metadata(request)
        rows, more = await required().database.read(
            lambda connection: store.listed(connection, key.owner, wanted, after, limit)
        )
        return JSONResponse(page([store.describe(row) for row in rows], more=more))

    async def found(request: Request, job: str) -> Job:
        key = await caller(request)
        return await required().database.read(lambda connection: store.row_of(connection, job, key.owner))

    @routes.get("/v1/fine_tuning/jobs/{job}")
    async def show(job: str, request: Request) -> JSONResponse:
        return JSONResponse(store.describe(await found(request, job)))

    @routes.post("/v1/fine_tuning/jobs/{job}/cancel")
    async def cancel(job: str, request: Request) -> JSONResponse:
        return await change(request, job, "cancel")

    @routes.post("/v1/fine_tuning/jobs/{job}/pause")
    async def pause(job: str, request: Request) -> JSONResponse:
        return await change(request, job, "pause")

    @routes.post("/v1/fine_tuning/jobs/{job}/resume")
    async def resume(job: str, request: Request) -> JSONResponse:
        return await change(request, job, "resume")

    @routes.get("/v1/fine_tuning/jobs/{job}/events")
    async def events(
        job: str,
        request: Request,
        after: Identity = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    ) -> JSONResponse:
        row = await found(request, job)
        places = required().places
        try:
            status = await places.observe(row) if row.handed else None
        except AwayError:
            raise _away() from None
        return _page(histories.events(row, status, await places.record(row)), after, limit)

    @routes.get("/v1/fine_tuning/jobs/{job}/checkpoints")
    async def checkpoints(
        job: str,
        request: Request,
        after: Identity = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 10,
    ) -> JSONResponse:
        row = await found(request, job)
        return _page(histories.checkpoints(row, await required().places.record(row)), after, limit)

    @routes.get("/v1/fine_tuning/jobs/{job}/examples/{part}.jsonl")
    async def examples(
        job: str,
        part: Literal["training", "validation"],
        expires: Annotated[int, Query(ge=0, le=2**40)],
        signature: Annotated[str, Query(pattern=r"^[0-9a-f]{64}$")],
    ) -> StreamingResponse:
        here = required()
        if signing is None or not signing.holds(job, part, expires, signature, now_us() / 1_000_000):
            raise store.not_found(job)
        row = await here.database.read(lambda connection: store.row_of(connection, job))
        file = row.training_file if part == "training" else row.validation_file
        if file is None:
            raise store.not_found(job)
        await here.files.find(file, row.owner)
        content = here.examples(file, orjson.loads(row.method)["type"])
        return StreamingResponse(content, media_type="application/jsonl")

    return routes


def _base(key: Key, catalog: Catalog, name: str, namespace: str) -> Base:
    """The model that is to be tuned. Raises APIError 404, or 400 for one that cannot be."""
    model = catalog.snapshot.models.get(name)
    if model is None or not key.allows(name):
        raise model_not_found(name)
    why = _why_not(model, namespace)
    if why is not None:
        raise invalid_request(f"The model `{name}` cannot be fine-tuned here: {why}.", "model", "not_offered")
    return Base(name, model.source, model.service, model.namespace)


def _why_not(model: Model, namespace: str) -> str | None:
    if model.parent is not None:
        return f"it is an adapter; fine-tune its base model, `{model.parent}`"
    if model.task != "generate":
        return "conversations are learned, and it writes none"
    if not model.takes_adapters:
        return (
            "its engines have no room for adapters. Those who run it can add `--enable-lora` to engine.args"
        )
    if model.namespace != namespace:
        return "it is served from another namespace than fine-tuning has"
    return None


def _away() -> APIError:
    return APIError(
        503,
        "cluster_unavailable",
        "The cluster does not say how the job stands now. Try again in a few seconds.",
        headers=retry_after(5.0),
    )


def _metadata(request: Request) -> dict[str, str]:
    """The labels that a list is narrowed by: `metadata[NAME]=VALUE`."""
    return {
        name.removeprefix("metadata[").removesuffix("]"): value
        for name, value in request.query_params.items()
        if name.startswith("metadata[") and name.endswith("]")
    }


def _page(found: list[dict[str, Any]], after: str | None, limit: int) -> JSONResponse:
    try:
        shown, more = histories.after(found, after, limit)
    except ValueError:
        raise invalid_request("`after` is not the id of anything in this list.", "after") from None
    return JSONResponse(page(shown, more=more))
