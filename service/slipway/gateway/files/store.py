"""Writing and reading files, a piece at a time: no more than a piece is in memory, no call takes long."""

import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from slipway.gateway.errors import APIError, body_too_large, invalid_request
from slipway.gateway.files.tables import files, pieces
from slipway.gateway.storage.database import Database

PIECE = 1_048_576
"""Bytes of a piece."""
ABANDONED_US = 86_400_000_000
"""Microseconds after which an upload that was never completed is removed."""


def not_found(file: str) -> APIError:
    """404 for a file that is not there, or is another owner's."""
    shown = file if len(file) <= 64 else file[:64] + "…"
    return APIError(404, "file_not_found", f"There is no file `{shown}`; GET /v1/files lists yours.")


@dataclass(frozen=True, slots=True)
class Upload:
    """What is known of a file before its content."""

    owner: str
    key: str
    filename: str
    purpose: str
    expires_us: int | None = None


@dataclass(frozen=True, slots=True)
class Files:
    """The files of all owners."""

    database: Database
    now_us: Callable[[], int]
    largest: int
    """Bytes of one file."""
    largest_sum: int
    """Bytes of all files of one owner."""

    async def write(self, upload: Upload, content: AsyncIterator[bytes]) -> dict[str, Any]:
        """Keep `content` as a file; returns the file object. Raises APIError, and keeps nothing then."""
        file = f"file-{secrets.token_hex(12)}"
        held = await self.database.run(lambda connection: self._begin(connection, file, upload))
        size, position, rest = 0, 0, b""
        try:
            async for data in content:
                size += len(data)
                self._check_size(size, held)
                rest += data
                while len(rest) >= PIECE:
                    await self._write_piece(file, position, rest[:PIECE])
                    position, rest = position + 1, rest[PIECE:]
            if rest:
                await self._write_piece(file, position, rest)
            return await self.database.run(lambda connection: self._complete(connection, file, size))
        except BaseException:
            await self.database.run(lambda connection: remove(connection, file))
            raise

    async def read(self, file: str) -> AsyncIterator[bytes]:
        """The content of a file, piece by piece."""
        position = 0
        while True:
            at = position
            data = await self.database.run(
                lambda connection, at=at: connection.scalar(  # type: ignore[misc]
                    select(pieces.c.data).where(pieces.c.file == file, pieces.c.position == at)
                )
            )
            if data is None:
                return
            yield bytes(data)
            position += 1

    async def find(self, file: str, owner: str) -> dict[str, Any]:
        """The file object. Raises APIError 404."""
        row = await self.database.run(lambda connection: connection.execute(_own(file, owner)).first())
        if row is None:
            raise not_found(file)
        return describe(row)

    async def sweep(self) -> int:
        """Remove files that have expired and uploads that were never completed; how many there were."""
        now = self.now_us()
        old = (files.c.expires_us < now) | (
            files.c.complete.is_(False) & (files.c.created_us < now - ABANDONED_US)
        )
        names = await self.database.run(
            lambda connection: connection.scalars(select(files.c.id).where(old).limit(100)).all()
        )
        for name in names:
            await self.database.run(lambda connection, name=name: remove(connection, name))  # type: ignore[misc]
        return len(names)

    def _begin(self, connection: Connection, file: str, upload: Upload) -> int:
        held = connection.scalar(select(func.sum(files.c.bytes)).where(files.c.owner == upload.owner))
        connection.execute(
            insert(files).values(
                id=file,
                owner=upload.owner,
                key=upload.key,
                filename=upload.filename,
                purpose=upload.purpose,
                bytes=0,
                complete=False,
                created_us=self.now_us(),
                expires_us=upload.expires_us,
            )
        )
        return int(held or 0)

    def _check_size(self, size: int, held: int) -> None:
        if size > self.largest:
            raise body_too_large(self.largest)
        if held + size > self.largest_sum:
            raise invalid_request(
                f"Your files would hold more than {self.largest_sum} bytes together. Delete some first.",
                "file",
                "storage_full",
            )

    async def _write_piece(self, file: str, position: int, data: bytes) -> None:
        await self.database.run(
            lambda connection: connection.execute(
                insert(pieces).values(file=file, position=position, data=data)
            )
        )

    @staticmethod
    def _complete(connection: Connection, file: str, size: int) -> dict[str, Any]:
        connection.execute(update(files).where(files.c.id == file).values(bytes=size, complete=True))
        return describe(connection.execute(select(files).where(files.c.id == file)).one())


def _own(file: str, owner: str) -> Any:
    return select(files).where(files.c.id == file, files.c.owner == owner, files.c.complete.is_(True))


def remove(connection: Connection, file: str) -> bool:
    """Delete a file with its content; whether there was one."""
    connection.execute(delete(pieces).where(pieces.c.file == file))
    return connection.execute(delete(files).where(files.c.id == file)).rowcount > 0


def listed(
    connection: Connection, owner: str, purpose: str | None, after: str | None, limit: int, *, newest: bool
) -> tuple[list[dict[str, Any]], bool]:
    """A page of the owner's files, and whether there are more behind it. Raises APIError 404 for `after`."""
    order = (files.c.created_us, files.c.id)
    query = select(files).where(files.c.owner == owner, files.c.complete.is_(True))
    if purpose is not None:
        query = query.where(files.c.purpose == purpose)
    if after is not None:
        last = connection.execute(_own(after, owner)).first()
        if last is None:
            raise not_found(after)
        at, name = last.created_us, last.id
        query = query.where(
            (order[0] < at) | ((order[0] == at) & (order[1] < name))
            if newest
            else (order[0] > at) | ((order[0] == at) & (order[1] > name))
        )
    query = query.order_by(*(column.desc() if newest else column.asc() for column in order))
    rows = connection.execute(query.limit(limit + 1)).all()
    return [describe(row) for row in rows[:limit]], len(rows) > limit


def describe(row: Row[Any]) -> dict[str, Any]:
    """A file as OpenAI's API shows it."""
    return {
        "id": row.id,
        "object": "file",
        "bytes": row.bytes,
        "created_at": row.created_us // 1_000_000,
        "expires_at": None if row.expires_us is None else row.expires_us // 1_000_000,
        "filename": row.filename,
        "purpose": row.purpose,
        "status": "processed",
        "status_details": None,
    }
