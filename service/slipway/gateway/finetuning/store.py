"""Fine-tuning jobs in the database: made, claimed by one gateway at a time, advanced, shown."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Row, Select, func, insert, or_, select, update

from slipway.gateway.errors import APIError, invalid_request
from slipway.gateway.files.store import not_found as file_not_found
from slipway.gateway.files.tables import files
from slipway.gateway.finetuning.names import model_name
from slipway.gateway.finetuning.tables import ACTIVE, jobs

LEASE_US = 10_000_000
"""Microseconds after which another gateway goes on with a job whose gateway says nothing more."""
PURPOSE = "fine-tune"
Job = Row[Any]


def not_found(job: str) -> APIError:
    """404 for a job that is not there, or is another owner's."""
    shown = job if len(job) <= 64 else job[:64] + "…"
    return APIError(
        404, "fine_tuning_job_not_found", f"There is no job `{shown}`; GET /v1/fine_tuning/jobs lists yours."
    )


@dataclass(frozen=True, slots=True)
class Base:
    """The model that a job tunes."""

    model: str
    """Its served name."""
    source: str
    service: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a job is made of."""

    training_file: str
    validation_file: str | None
    method: Mapping[str, Any]
    suffix: str | None
    seed: int | None
    metadata: Mapping[str, str] | None


def create(
    connection: Connection, asked: Asked, base: Base, *, owner: str, key: str, most: int, now_us: int
) -> Job:
    """Make a job. Raises APIError: a file is not there or not for this; 429, the owner has `most` jobs."""
    for field in ("training_file", "validation_file"):
        file = getattr(asked, field)
        if file is not None:
            _require_file(connection, file, owner, field)
    under_way = select(func.count()).where(jobs.c.owner == owner, jobs.c.status.in_(ACTIVE))
    if (connection.scalar(under_way) or 0) >= most:
        raise APIError(
            429,
            "rate_limit_exceeded",
            f"You have {most} fine-tuning jobs that have not ended, and may have no more. Cancel one.",
            kind="fine_tuning_jobs",
            headers=[(b"retry-after", b"60"), (b"retry-after-ms", b"60000")],
        )
    job = f"ftjob-{secrets.token_hex(12)}"
    connection.execute(
        insert(jobs).values(
            id=job,
            owner=owner,
            key=key,
            model=base.model,
            source=base.source,
            service=base.service,
            namespace=base.namespace,
            tuned_model=model_name(base.model, owner, asked.suffix, job),
            training_file=asked.training_file,
            validation_file=asked.validation_file,
            method=orjson.dumps(asked.method).decode(),
            seed=secrets.randbelow(2**31) if asked.seed is None else asked.seed,
            metadata=None if asked.metadata is None else orjson.dumps(asked.metadata).decode(),
            status="validating_files",
            wanted="run",
            handed=False,
            settled=False,
            created_us=now_us,
            lease_until_us=0,
        )
    )
    return row_of(connection, job)


def _require_file(connection: Connection, file: str, owner: str, field: str) -> None:
    found = connection.execute(
        select(files.c.purpose).where(files.c.id == file, files.c.owner == owner, files.c.complete)
    ).first()
    if found is None:
        raise file_not_found(file)
    if found.purpose != PURPOSE:
        raise APIError(
            400,
            "invalid_file_purpose",
            f"The file was uploaded for `{found.purpose}`; upload it with the purpose `{PURPOSE}`.",
            param=field,
        )


def row_of(connection: Connection, job: str, owner: str | None = None) -> Job:
    """The job. Raises APIError 404 where there is none, or not of this owner."""
    query = select(jobs).where(jobs.c.id == job)
    if owner is not None:
        query = query.where(jobs.c.owner == owner)
    row = connection.execute(query).first()
    if row is None:
        raise not_found(job)
    return row


def listed(
    connection: Connection, owner: str, metadata: Mapping[str, str], after: str | None, limit: int
) -> tuple[list[Job], bool]:
    """A page of the owner's jobs with all of `metadata`, newest first; whether there are more behind it."""
    query = select(jobs).where(jobs.c.owner == owner)
    if after is not None:
        query = _before(query, row_of(connection, after, owner))
    found = connection.execute(query.order_by(jobs.c.created_us.desc(), jobs.c.id.desc()))
    rows: list[Job] = []
    for row in found:
        if metadata.items() <= (orjson.loads(row.metadata) if row.metadata else {}).items():
            rows.append(row)
        if len(rows) > limit:
            break
    return rows[:limit], len(rows) > limit


def _before(query: Select[Any], last: Job) -> Select[Any]:
    return query.where(
        (jobs.c.created_us < last.created_us)
        | ((jobs.c.created_us == last.created_us) & (jobs.c.id < last.id))
    )


def cancel(connection: Connection, job: str, owner: str, now_us: int) -> Job:
    """End a job for good. Raises APIError 400 for one that has ended."""
    row = row_of(connection, job, owner)
    if row.status not in ACTIVE:
        raise _wrong_state(row, "cancelled", "it has ended")
    # What was not handed on needs no cleaning up.
    return _change(
        connection, job, status="cancelled", wanted="cancel", finished_us=now_us, settled=not row.handed
    )


def pause(connection: Connection, job: str, owner: str) -> Job:
    """Stop a job at its next checkpoint. Raises APIError 400 for one that has ended, or is being checked."""
    row = row_of(connection, job, owner)
    if row.status not in ("queued", "running", "paused"):
        raise _wrong_state(row, "paused", f"it is `{row.status}`")
    return _change(connection, job, status="paused", wanted="pause", estimated_us=None)


def resume(connection: Connection, job: str, owner: str) -> Job:
    """Go on with a job; one that is not paused stays as it is. Raises APIError 400 for one that has ended."""
    row = row_of(connection, job, owner)
    if row.status not in ACTIVE:
        raise _wrong_state(row, "resumed", "it has ended")
    if row.status != "paused":
        return row
    return _change(connection, job, status="queued", wanted="run")


def _wrong_state(row: Job, what: str, why: str) -> APIError:
    return invalid_request(f"The job `{row.id}` cannot be {what}: {why}.", code="wrong_job_state")


def _change(connection: Connection, job: str, **values: Any) -> Job:
    connection.execute(update(jobs).where(jobs.c.id == job).values(**values))
    return row_of(connection, job)


# --- what gateways do with jobs ---------------------------------------------------------------------


def claim(connection: Connection, gateway: str, now_us: int) -> list[Job]:
    """Take those that are not settled and that no other gateway works on, the oldest first."""
    free = or_(jobs.c.lease.is_(None), jobs.c.lease == gateway, jobs.c.lease_until_us < now_us)
    mine = jobs.c.settled.is_(False) & free
    connection.execute(update(jobs).where(mine).values(lease=gateway, lease_until_us=now_us + LEASE_US))
    query = select(jobs).where(jobs.c.settled.is_(False), jobs.c.lease == gateway)
    return list(connection.execute(query.order_by(jobs.c.created_us, jobs.c.id)))


def release(connection: Connection, gateway: str) -> None:
    """Let other gateways have the jobs at once."""
    connection.execute(update(jobs).where(jobs.c.lease == gateway).values(lease=None, lease_until_us=0))


def advance(connection: Connection, row: Job, gateway: str, **values: Any) -> bool:
    """Write down what was seen of a job; False where it was changed meanwhile, or another gateway has it."""
    unchanged = (jobs.c.status == row.status) & (jobs.c.wanted == row.wanted)
    written = update(jobs).where(jobs.c.id == row.id, jobs.c.lease == gateway, unchanged)
    return connection.execute(written.values(**values)).rowcount == 1


def describe(row: Job) -> dict[str, Any]:
    """A job as OpenAI's API shows it."""
    method = orjson.loads(row.method)
    return {
        "id": row.id,
        "object": "fine_tuning.job",
        "model": row.model,
        "created_at": _seconds(row.created_us),
        "finished_at": _seconds(row.finished_us),
        "fine_tuned_model": row.tuned_model if row.status == "succeeded" else None,
        "organization_id": row.owner,
        "result_files": [] if row.result_file is None else [row.result_file],
        "status": row.status,
        "validation_file": row.validation_file,
        "training_file": row.training_file,
        "hyperparameters": {
            name: value for name, value in method[method["type"]]["hyperparameters"].items() if name != "beta"
        },
        "trained_tokens": row.trained_tokens,
        "integrations": [],
        "seed": row.seed,
        "estimated_finish": _seconds(row.estimated_us),
        "error": None if row.error is None else orjson.loads(row.error),
        "method": method,
        "metadata": None if row.metadata is None else orjson.loads(row.metadata),
    }


def _seconds(us: int | None) -> int | None:
    return None if us is None else us // 1_000_000
