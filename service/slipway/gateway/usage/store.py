"""Usage in SQL: batches of records with their days' sums and the journal's position, all in one transaction.

The position makes it exact: whatever was committed is never read again, whatever was not is. It also fences:
a recorder that was overtaken, or never heard whether its commit came through, finds another position than it
expects, and starts again from the one that counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from slipway.gateway.usage.rows import COLUMNS, DAY_KEYS, Row, day_rows, first_id
from slipway.gateway.usage.tables import DAY_US, SUMS, usage_days, usage_journals, usage_records

_AT_ONCE = 500
"""Ids in one query, and rows in one deletion."""


class OvertakenError(Exception):
    """The journal's position in the database is not the one that this recorder left there."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """How far a journal has been read into the database."""

    segment: int = 1
    offset: int = 0
    closed: int = field(default=0, compare=False)
    """Closing entries up to there."""


def attach(connection: Connection, instance: str, now_us: int) -> Position | None:
    """Where to go on reading a journal, from its start if it is new; None if all of it is here already."""
    fresh = {"instance": instance, "seen_us": now_us, "segment": 1, "position": 0, "closed": 0}
    statement = _dialect(connection).insert(usage_journals).values(fresh).on_conflict_do_nothing()
    connection.execute(statement)
    table = usage_journals
    row = connection.execute(select(table).where(table.c.instance == instance)).one()
    return None if row.ended_us is not None else Position(row.segment, row.position, row.closed)


def add(
    connection: Connection,
    instance: str,
    rows: Sequence[Row],
    before: Position,
    after: Position,
    ended_us: int | None = None,
) -> None:
    """Add records and move the journal's position; `ended_us` closes it. Raises OvertakenError."""
    table = usage_journals
    here = (table.c.segment == before.segment, table.c.position == before.offset, table.c.ended_us.is_(None))
    moved = connection.execute(
        update(table)
        .where(table.c.instance == instance, *here)
        .values(segment=after.segment, position=after.offset, closed=after.closed, ended_us=ended_us)
    )
    if moved.rowcount != 1:
        raise OvertakenError
    if not rows:
        return
    insert(connection, rows)
    days = day_rows(rows)
    statement = _dialect(connection).insert(usage_days)
    sums = {name: usage_days.c[name] + statement.excluded[name] for name in SUMS}
    connection.execute(statement.on_conflict_do_update(index_elements=DAY_KEYS, set_=sums), days)


def known(connection: Connection, ids: Iterable[str]) -> set[str]:
    """Those of the ids that have a record."""
    wanted, found = sorted(ids), set[str]()
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        found.update(connection.scalars(select(usage_records.c.id).where(usage_records.c.id.in_(some))).all())
    return found


def forget_records(connection: Connection, now_us: int, days: int) -> int:
    """Delete some records of days before the last `days` whole ones; how many. Call it until that is 0."""
    ids = usage_records.c.id
    oldest = first_id((now_us // DAY_US - days) * DAY_US)
    some = select(ids).where(ids < oldest).order_by(ids).limit(_AT_ONCE)
    return connection.execute(delete(usage_records).where(ids.in_(some.scalar_subquery()))).rowcount


def forget_days(connection: Connection, now_us: int, days: int) -> None:
    """Delete the sums of days before the last `days`, and the journals that ended before them."""
    today = now_us // DAY_US
    connection.execute(delete(usage_days).where(usage_days.c.day < today - days))
    connection.execute(delete(usage_journals).where(usage_journals.c.ended_us < (today - days) * DAY_US))


def insert(connection: Connection, rows: Sequence[Row]) -> None:
    """Insert records, on the driver's level: SQLAlchemy's handling of parameters would be half the cost."""
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    statement = f"INSERT INTO usage_records ({names}) VALUES ({', '.join([mark] * len(COLUMNS))})"  # noqa: S608
    connection.exec_driver_sql(statement, list(rows))


def _dialect(connection: Connection) -> Any:
    return sqlite if connection.dialect.name == "sqlite" else postgresql
