"""Batches in the database: made, claimed by one gateway at a time, advanced, shown."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from slipway.gateway.batches.tables import ACTIVE, batches, results
from slipway.gateway.errors import APIError
from slipway.gateway.files.store import not_found as file_not_found
from slipway.gateway.files.tables import files

WINDOW_US = 86_400_000_000
LEASE_US = 10_000_000
"""Microseconds after which another gateway goes on with a batch whose gateway says nothing more."""


def not_found(batch: str) -> APIError:
    """404 for a batch that is not there, or is another owner's."""
    shown = batch if len(batch) <= 64 else batch[:64] + "…"
    return APIError(404, "batch_not_found", f"There is no batch `{shown}`; GET /v1/batches lists yours.")


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one line."""

    line: int
    ok: bool
    record: bytes
    prompt: int = 0
    cached: int = 0
    completion: int = 0


def create(
    connection: Connection,
    *,
    owner: str,
    key: str,
    endpoint: str,
    input_file: str,
    metadata: dict[str, str] | None,
    now_us: int,
) -> Row[Any]:
    """Make a batch. Raises APIError if its file is not there or was not uploaded for it."""
    file = connection.execute(
        select(files.c.purpose).where(files.c.id == input_file, files.c.owner == owner, files.c.complete)
    ).first()
    if file is None:
        raise file_not_found(input_file)
    if file.purpose != "batch":
        raise APIError(
            400,
            "invalid_file_purpose",
            f"The file was uploaded for `{file.purpose}`; upload it with the purpose `batch`.",
            param="input_file_id",
        )
    batch = f"batch_{secrets.token_hex(12)}"
    connection.execute(
        insert(batches).values(
            id=batch,
            owner=owner,
            key=key,
            endpoint=endpoint,
            input_file=input_file,
            status="validating",
            metadata=None if metadata is None else orjson.dumps(metadata).decode(),
            created_us=now_us,
            expires_us=now_us + WINDOW_US,
        )
    )
    return row_of(connection, batch)


def row_of(connection: Connection, batch: str, owner: str | None = None) -> Row[Any]:
    """The batch. Raises APIError 404 where there is none, or not of this owner."""
    query = select(batches).where(batches.c.id == batch)
    if owner is not None:
        query = query.where(batches.c.owner == owner)
    row = connection.execute(query).first()
    if row is None:
        raise not_found(batch)
    return row


def listed(connection: Connection, owner: str, after: str | None, limit: int) -> tuple[list[Row[Any]], bool]:
    """A page of the owner's batches, newest first, and whether there are more behind it."""
    query = select(batches).where(batches.c.owner == owner)
    if after is not None:
        last = row_of(connection, after, owner)
        query = query.where(
            (batches.c.created_us < last.created_us)
            | ((batches.c.created_us == last.created_us) & (batches.c.id < last.id))
        )
    query = query.order_by(batches.c.created_us.desc(), batches.c.id.desc())
    rows = connection.execute(query.limit(limit + 1)).all()
    return list(rows[:limit]), len(rows) > limit


def cancel(connection: Connection, batch: str, owner: str, now_us: int) -> Row[Any]:
    """Ask for a batch's end; one that has ended stays as it is."""
    row_of(connection, batch, owner)
    connection.execute(
        update(batches)
        .where(batches.c.id == batch, batches.c.status.in_(("validating", "in_progress")))
        .values(status="cancelling", cancelling_us=now_us)
    )
    return row_of(connection, batch)


def claim(connection: Connection, gateway: str, now_us: int) -> str | None:
    """Take the oldest batch that nobody works on."""
    free = or_(batches.c.lease.is_(None), batches.c.lease_until_us < now_us)
    waiting = (
        select(batches.c.id)
        .where(batches.c.status.in_(ACTIVE), free)
        .order_by(batches.c.created_us)
        .limit(1)
        .scalar_subquery()
    )
    taken = update(batches).where(batches.c.id == waiting, free)
    query = taken.values(lease=gateway, lease_until_us=now_us + LEASE_US).returning(batches.c.id)
    return connection.execute(query).scalar()


def renew(connection: Connection, batch: str, gateway: str, now_us: int) -> str | None:
    """Keep a batch, and learn its status; None if another gateway has it now."""
    return connection.execute(
        update(batches)
        .where(batches.c.id == batch, batches.c.lease == gateway)
        .values(lease_until_us=now_us + LEASE_US)
        .returning(batches.c.status)
    ).scalar()


def release(connection: Connection, batch: str, gateway: str) -> None:
    """Let another gateway have the batch at once."""
    connection.execute(
        update(batches).where(batches.c.id == batch, batches.c.lease == gateway).values(lease=None)
    )


def advance(connection: Connection, batch: str, gateway: str, status: str, **values: Any) -> bool:
    """Put the batch into its next state; False if another gateway has it or it was cancelled meanwhile."""
    before = {
        "in_progress": ("validating",),
        "failed": ("validating", "in_progress"),
        "finalizing": ("in_progress",),
        "completed": ("finalizing",),
        "expired": ("validating", "in_progress", "finalizing"),
        "cancelled": ("cancelling",),
    }[status]
    return (
        connection.execute(
            update(batches)
            .where(batches.c.id == batch, batches.c.lease == gateway, batches.c.status.in_(before))
            .values(status=status, **values)
        ).rowcount
        == 1
    )


def done_lines(connection: Connection, batch: str) -> set[int]:
    """The lines that have a result."""
    return set(connection.scalars(select(results.c.line).where(results.c.batch == batch)))


def keep(connection: Connection, batch: str, gateway: str, found: Sequence[Result]) -> bool:
    """Keep results and count them, all or none; False if another gateway has the batch now."""
    held = connection.execute(
        update(batches)
        .where(batches.c.id == batch, batches.c.lease == gateway)
        .values(
            completed=batches.c.completed + sum(result.ok for result in found),
            failed=batches.c.failed + sum(not result.ok for result in found),
            input_tokens=batches.c.input_tokens + sum(result.prompt for result in found),
            cached_tokens=batches.c.cached_tokens + sum(result.cached for result in found),
            output_tokens=batches.c.output_tokens + sum(result.completion for result in found),
        )
    ).rowcount
    if held != 1:
        return False
    connection.execute(
        insert(results),
        [
            {"batch": batch, "line": result.line, "ok": result.ok, "record": result.record.decode()}
            for result in found
        ],
    )
    return True


def records(connection: Connection, batch: str, *, ok: bool, after: int, limit: int) -> list[Any]:
    """Results in the order of their lines."""
    query = select(results.c.line, results.c.record).where(
        results.c.batch == batch, results.c.ok.is_(ok), results.c.line > after
    )
    return list(connection.execute(query.order_by(results.c.line).limit(limit)).all())


def forget_records(connection: Connection, batch: str) -> None:
    """The files hold them now."""
    connection.execute(delete(results).where(results.c.batch == batch))


_TIMES = ("in_progress", "expires", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")


def describe(row: Row[Any], now_us: int) -> dict[str, Any]:
    """A batch as OpenAI's API shows it, with its progress beside."""
    done = row.completed + row.failed
    eta = None
    if row.status == "in_progress" and done and row.in_progress_us is not None:
        eta = max(0, round((row.total - done) * (now_us - row.in_progress_us) / done / 1_000_000))
    return {
        "id": row.id,
        "object": "batch",
        "endpoint": row.endpoint,
        "model": row.model,
        "errors": None if row.errors is None else {"object": "list", "data": orjson.loads(row.errors)},
        "input_file_id": row.input_file,
        "completion_window": "24h",
        "status": row.status,
        "output_file_id": row.output_file,
        "error_file_id": row.error_file,
        "created_at": row.created_us // 1_000_000,
        **{
            f"{name}_at": None if at is None else at // 1_000_000
            for name in _TIMES
            for at in (getattr(row, f"{name}_us"),)
        },
        "request_counts": {"total": row.total, "completed": row.completed, "failed": row.failed},
        "usage": {
            "input_tokens": row.input_tokens,
            "input_tokens_details": {"cached_tokens": row.cached_tokens},
            "output_tokens": row.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": row.input_tokens + row.output_tokens,
        },
        "metadata": None if row.metadata is None else orjson.loads(row.metadata),
        "progress": {"done": done, "total": row.total, "eta_seconds": eta},
    }
