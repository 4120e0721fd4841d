"""`/v1/fine_tuning/jobs/ID/reports`: what a job's stages wrote for people, where the gateway can read it.

A browser opens a report in a tab of its own, where it sends no key. So the list has addresses that are signed
and hold for some minutes. A report is a page without scripts, and is told to be one.
"""

import secrets
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, JSONResponse

from slipway.gateway.apis import Caller, page
from slipway.gateway.errors import APIError
from slipway.gateway.finetuning import store
from slipway.gateway.finetuning.places import FineTunes
from slipway.gateway.finetuning.reports import StageReport
from slipway.gateway.finetuning.signing import Signing
from slipway.gateway.finetuning.store import Job
from slipway.gateway.storage.database import Database

_HOLDS = 600
"""Seconds that an address is good."""
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def router(
    caller: Caller, database: Database, places: FineTunes | None, now: Callable[[], float]
) -> APIRouter:
    """The routes of reports. `now`: seconds since 1970."""
    routes = APIRouter()
    secret = secrets.token_bytes(32)  # Of this process: the files are on its machine.
    signing = Signing(lambda: secret)

    async def read(row: Job) -> dict[str, StageReport]:
        found = [] if places is None else await places.reports(row)
        return {report.name: report for report in found}

    @routes.get("/v1/fine_tuning/jobs/{job}/reports")
    async def reports(job: str, request: Request) -> JSONResponse:
        key = await caller(request)
        row = await database.read(lambda connection: store.row_of(connection, job, key.owner))
        expires = int(now()) + _HOLDS
        shown = [
            {
                "object": "fine_tuning.job.report",
                "id": report.name,
                "title": report.title,
                "url": f"v1/fine_tuning/jobs/{row.id}/reports/{report.name}?expires={expires}"
                f"&signature={signing.sign(row.id, report.name, expires)}",
            }
            for report in (await read(row)).values()
        ]
        return JSONResponse(page(shown, more=False))

    @routes.get("/v1/fine_tuning/jobs/{job}/reports/{name}")
    async def report(
        job: str,
        name: str,
        expires: Annotated[int, Query(ge=0, le=2**40)],
        signature: Annotated[str, Query(pattern=r"^[0-9a-f]{64}$")],
    ) -> FileResponse:
        if not signing.holds(job, name, expires, signature, now()):
            raise _not_found()
        row = await database.read(lambda connection: store.row_of(connection, job))
        found = (await read(row)).get(name)
        if found is None:
            raise _not_found()
        return FileResponse(found.file, media_type=found.media_type, headers=_HEADERS)

    return routes


def _not_found() -> APIError:
    return APIError(
        404,
        "report_not_found",
        "There is no such report at this address, or the address is old. List the job's reports again.",
    )
