"""The files that a batch leaves behind: answers in one, errors in another, in the order of its lines."""

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Row, select

from slipway.gateway.batches import store
from slipway.gateway.batches.lines import numbered, read_line, unanswered
from slipway.gateway.errors import APIError
from slipway.gateway.files.store import Files, Upload, remove
from slipway.gateway.files.tables import files as files_table

PAGE = 256


async def finish(
    files: Files, row: Row[Any], longest: int, *, expired: bool
) -> tuple[str | None, str | None]:
    """Write the files; their ids, None where there is nothing to write."""
    output = await _write(files, row, "output", _records(files, row, ok=True))
    error = await _write(files, row, "errors", _errors(files, row, longest, expired=expired))
    return output, error


async def _write(files: Files, row: Row[Any], part: str, content: AsyncIterator[bytes]) -> str | None:
    name = f"{row.id}_{part}.jsonl"
    await _remove_leftovers(files, row.owner, name)
    first = await anext(content, None)
    if first is None:
        return None

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for data in content:
            yield data

    upload = Upload(row.owner, row.key, name, "batch_output")
    return str((await files.write(upload, whole()))["id"])


async def _remove_leftovers(files: Files, owner: str, name: str) -> None:
    """What a gateway wrote that was killed before it could say so."""
    query = select(files_table.c.id).where(files_table.c.owner == owner, files_table.c.filename == name)
    for file in await files.database.run(lambda connection: connection.scalars(query).all()):
        await files.database.run(lambda connection, file=file: remove(connection, file))  # type: ignore[misc]


async def _records(files: Files, row: Row[Any], *, ok: bool) -> AsyncIterator[bytes]:
    after = 0
    while True:
        at = after
        found = await files.database.run(
            lambda connection, at=at: store.records(  # type: ignore[misc]
                connection, row.id, ok=ok, after=at, limit=PAGE
            )
        )
        if not found:
            return
        yield b"".join(each.record.encode() + b"\n" for each in found)
        after = found[-1].line


async def _errors(files: Files, row: Row[Any], longest: int, *, expired: bool) -> AsyncIterator[bytes]:
    async for data in _records(files, row, ok=False):
        yield data
    if not expired:
        return
    late = APIError(408, "batch_expired", "The batch's 24 hours ended before this request was answered.")
    done = await files.database.run(lambda connection: store.done_lines(connection, row.id))
    async for number, data in numbered(files.read(row.input_file), longest):
        if number not in done:
            line = read_line(number, data, row.endpoint, longest)
            yield unanswered(row.id, line, late) + b"\n"
