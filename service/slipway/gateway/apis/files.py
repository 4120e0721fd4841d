"""`/v1/files`: upload, list, show, read, delete."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse
from sqlalchemy import Connection
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from slipway.gateway.apis import Caller, page
from slipway.gateway.batches import tables as batches
from slipway.gateway.errors import body_too_large, invalid_request
from slipway.gateway.files.store import PIECE, Files, Upload, listed, not_found, remove
from slipway.gateway.finetuning import tables as finetuning

PURPOSES = ("batch", "fine-tune", "evals", "user_data")
_ENVELOPE = 65_536
"""Bytes that a form may have beside the file."""
_SHORTEST, _LONGEST = 3600, 2_592_000


def router(caller: Caller, files: Files) -> APIRouter:
    """The routes of files."""
    routes = APIRouter()

    @routes.post("/v1/files")
    async def upload(request: Request) -> JSONResponse:
        key = await caller(request)
        form = await _form(request, files.largest)
        try:
            sent = form.get("file")
            if not isinstance(sent, UploadFile):
                raise invalid_request("`file` is required: a form field that holds a file.", "file")
            what = Upload(
                owner=key.owner,
                key=key.name,
                filename=(sent.filename or "upload")[-512:],
                purpose=_purpose(form),
                expires_us=_expiry(form, files.now_us()),
            )
            return JSONResponse(await files.write(what, _content(sent)))
        finally:
            await form.close()

    @routes.get("/v1/files")
    async def list_files(
        request: Request,
        purpose: Annotated[str | None, Query(max_length=32)] = None,
        after: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
        order: Literal["asc", "desc"] = "desc",
    ) -> JSONResponse:
        key = await caller(request)
        found, more = await files.database.run(
            lambda connection: listed(connection, key.owner, purpose, after, limit, newest=order == "desc")
        )
        return JSONResponse(page(found, more=more))

    @routes.get("/v1/files/{file}")
    async def show(file: str, request: Request) -> JSONResponse:
        key = await caller(request)
        return JSONResponse(await files.find(file, key.owner))

    @routes.get("/v1/files/{file}/content")
    async def content(file: str, request: Request) -> StreamingResponse:
        key = await caller(request)
        found = await files.find(file, key.owner)
        return StreamingResponse(
            files.read(file),
            media_type="application/octet-stream",
            headers={"content-length": str(found["bytes"]), "content-disposition": "attachment"},
        )

    @routes.delete("/v1/files/{file}")
    async def delete(file: str, request: Request) -> JSONResponse:
        key = await caller(request)
        await files.find(file, key.owner)
        reader = await files.database.run(lambda connection: _reader(connection, file))
        if reader is not None:
            raise invalid_request(f"`{reader}` reads this file; cancel it first.", code="file_in_use")
        if not await files.database.run(lambda connection: remove(connection, file)):
            raise not_found(file)
        return JSONResponse({"id": file, "object": "file", "deleted": True})

    return routes


def _reader(connection: Connection, file: str) -> str | None:
    """A batch or a fine-tuning job that is not done with a file yet."""
    return batches.reads_file(connection, file) or finetuning.reads_file(connection, file)


async def _form(request: Request, largest: int) -> FormData:
    """The form, its size bounded while it comes in; a large file waits on disk."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise invalid_request(
            "Send a form: `Content-Type: multipart/form-data` with the fields `purpose` and `file`.",
            "content-type",
            "unsupported_content_type",
        )

    async def bounded() -> AsyncIterator[bytes]:
        size = 0
        async for data in request.stream():
            size += len(data)
            if size > largest + _ENVELOPE:
                raise body_too_large(largest)
            yield data

    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > largest + _ENVELOPE:
        raise body_too_large(largest)
    try:
        # AsyncGenerator and AsyncIterator differ in nothing that the parser uses.
        stream: Any = bounded()
        return await MultiPartParser(request.headers, stream, max_files=1, max_fields=8).parse()
    except MultiPartException as error:
        raise invalid_request(f"The form cannot be read: {error.message}", "file") from None


async def _content(sent: UploadFile) -> AsyncIterator[bytes]:
    while data := await sent.read(PIECE):
        yield data


def _purpose(form: FormData) -> str:
    purpose = form.get("purpose")
    if purpose not in PURPOSES:
        raise invalid_request(
            f"`purpose` must be one of {', '.join(f'`{each}`' for each in PURPOSES)}.", "purpose"
        )
    return str(purpose)


def _expiry(form: FormData, now_us: int) -> int | None:
    seconds, anchor = form.get("expires_after[seconds]"), form.get("expires_after[anchor]")
    if seconds is None and anchor is None:
        return None
    if anchor != "created_at":
        raise invalid_request("`expires_after[anchor]` must be `created_at`.", "expires_after[anchor]")
    if not isinstance(seconds, str) or not seconds.isdigit() or not _SHORTEST <= int(seconds) <= _LONGEST:
        raise invalid_request(
            f"`expires_after[seconds]` must be a whole number from {_SHORTEST} to {_LONGEST}.",
            "expires_after[seconds]",
        )
    return now_us + int(seconds) * 1_000_000
