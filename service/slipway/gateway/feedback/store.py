"""Feedback in the database: kept, replaced, listed."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Row, and_, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from slipway.gateway.errors import APIError, invalid_request
from slipway.gateway.feedback.tables import feedback
from slipway.gateway.usage.tables import usage_records

FILTERS = ("owner", "key", "model", "rating", "request_id")
"""Columns that a list can be narrowed by."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one key says about one answer."""

    request_id: str
    rating: str
    """`up` or `down`."""
    comment: str | None
    expected: str | None
    """What the answer should have been."""
    messages: Sequence[Mapping[str, Any]] | None
    """The conversation, where the caller agreed to its being kept."""
    consent: bool
    """It may be learned from."""


def request_not_found(request_id: str) -> APIError:
    """404: the caller's owner has made no such request, or it is not recorded yet."""
    return APIError(
        404,
        "request_not_found",
        f"There is no request `{request_id}` of yours. Its id is the header x-request-id of its answer.",
        param="request_id",
    )


@dataclass(frozen=True, slots=True)
class Answered:
    """Who gave an answer."""

    model: str
    """As it was asked for."""
    revision: str
    """Of the service, or the adapter's version."""


def answered(connection: Connection, request_id: str, owner: str) -> Answered | None:
    """Who answered the owner's request with this id; None if there is no such request.

    Clients may choose ids, so another owner's request can have the same one.
    """
    row = connection.execute(
        select(usage_records.c.model, usage_records.c.revision)
        .where(usage_records.c.request_id == request_id, usage_records.c.owner == owner)
        .order_by(usage_records.c.started_us.desc())
        .limit(1)
    ).first()
    return None if row is None else Answered(row.model, row.revision)


def keep(connection: Connection, said: Said, *, key: str, owner: str, by: Answered, now_us: int) -> Row[Any]:
    """Keep what a key says about a request, in place of what it said before."""
    digest = hashlib.sha256(f"{key}\0{said.request_id}".encode()).hexdigest()
    values = {
        "id": f"feedback_{digest[:24]}",
        "request_id": said.request_id,
        "key": key,
        "owner": owner,
        "model": by.model[:253],
        "revision": by.revision[:253],
        "consent": said.consent,
        "rating": said.rating,
        "comment": said.comment,
        "expected": said.expected,
        "messages": None if said.messages is None else orjson.dumps(said.messages).decode(),
        "created_us": now_us,
    }
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(feedback).values(values)
    changes = {name: value for name, value in values.items() if name != "id"}
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changes))
    return connection.execute(select(feedback).where(feedback.c.id == values["id"])).one()


def listed(
    connection: Connection, filters: Mapping[str, str | None], after: str | None, limit: int
) -> tuple[list[Row[Any]], bool]:
    """A page, newest first, and whether more follow. Raises APIError 400 for an `after` that is not there."""
    query = select(feedback)
    for name in FILTERS:
        wanted = filters.get(name)
        if wanted is not None:
            query = query.where(feedback.c[name] == wanted)
    if after is not None:
        last = connection.execute(select(feedback.c.created_us).where(feedback.c.id == after)).first()
        if last is None:
            raise invalid_request("`after` is not the id of any feedback.", "after")
        query = query.where(
            or_(
                feedback.c.created_us < last.created_us,
                and_(feedback.c.created_us == last.created_us, feedback.c.id < after),
            )
        )
    order = (feedback.c.created_us.desc(), feedback.c.id.desc())
    rows = list(connection.execute(query.order_by(*order).limit(limit + 1)))
    return rows[:limit], len(rows) > limit


def exported(
    connection: Connection,
    filters: Mapping[str, str | None],
    since_us: int,
    last: tuple[int, str],
    limit: int,
) -> list[Row[Any]]:
    """The next `limit` that may be learned from, behind `last` (time and id), the oldest first."""
    at, after = last
    query = select(feedback).where(feedback.c.consent.is_(True), feedback.c.created_us >= since_us)
    for name in FILTERS:
        wanted = filters.get(name)
        if wanted is not None:
            query = query.where(feedback.c[name] == wanted)
    later = (feedback.c.created_us > at) | ((feedback.c.created_us == at) & (feedback.c.id > after))
    order = (feedback.c.created_us, feedback.c.id)
    return list(connection.execute(query.where(later).order_by(*order).limit(limit)))


def describe(row: Row[Any]) -> dict[str, Any]:
    """Feedback as the API shows it."""
    return {
        "id": row.id,
        "object": "feedback",
        "request_id": row.request_id,
        "key": row.key,
        "owner": row.owner,
        "model": row.model or None,
        "rating": row.rating,
        "comment": row.comment,
        "expected": row.expected,
        "messages": None if row.messages is None else orjson.loads(row.messages),
        "consent": row.consent,
        "revision": row.revision or None,
        "created_at": row.created_us // 1_000_000,
    }
