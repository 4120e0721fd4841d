"""The receipt's numbers: the same usage added up along different ways, at one moment, to be compared."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, select

from slipway.gateway.usage.reports import day_number, day_of, summed, sums_of
from slipway.gateway.usage.rows import first_id, started_us
from slipway.gateway.usage.tables import DAY_US, SUMS, usage_days, usage_journals, usage_records

Sums = dict[str, int]


@dataclass(frozen=True, slots=True)
class Counted:
    """A gateway process, and how many requests it had counted when its metrics were read."""

    instance: str
    closed: int


def receipt(connection: Connection, first: date, counted: Iterable[Counted]) -> dict[str, Any]:
    """Usage since `first`: by key, by owner, in total, record by record; and by gateway, for its metrics.

    Call it in a transaction that sees one moment. `records` begins a day later than the rest where older
    records were deleted.
    """
    since = usage_days.c.day >= day_number(first)
    with_records = _first_day_of_records(connection, day_number(first))
    return {
        "object": "usage.receipt",
        "first_day": first.isoformat(),
        "total": sums_of(_sums(connection, usage_days, since)),
        "keys": _added_up(connection, "key", since),
        "owners": _added_up(connection, "owner", since),
        "records": _records(connection, with_records),
        "gateways": [_gateway(connection, each) for each in counted],
    }


def _records(connection: Connection, day: int | None) -> dict[str, Any] | None:
    """Sums of the records and of the same days, and the days on which they differ."""
    if day is None:
        return None
    per_day = usage_records.c.started_us // DAY_US
    query = select(per_day.label("day"), *summed(usage_records)).where(
        usage_records.c.id >= first_id(day * DAY_US)
    )
    by_record = {int(row["day"]): _ints(row) for row in connection.execute(query.group_by("day")).mappings()}
    query = select(usage_days.c.day, *summed(usage_days)).where(usage_days.c.day >= day)
    by_day = {int(row["day"]): _ints(row) for row in connection.execute(query.group_by("day")).mappings()}
    different = [each for each in sorted({*by_record, *by_day}) if by_record.get(each) != by_day.get(each)]
    return {
        "first_day": day_of(day).isoformat(),
        "total": sums_of(_plus(by_day.values())),
        "records": sums_of(_plus(by_record.values())),
        "different_days": [day_of(each).isoformat() for each in different],
    }


def _first_day_of_records(connection: Connection, first: int) -> int | None:
    """From which day on all records are there; None if there are none."""
    oldest = connection.scalar(select(func.min(usage_records.c.id)))
    if oldest is None:
        return None
    day = started_us(oldest) // DAY_US
    earlier = connection.scalar(select(func.min(usage_days.c.day)))
    deleted_before = first <= day and earlier is not None and earlier < day
    # Deletion goes on from the oldest: that day may be half gone.
    return day + 1 if deleted_before else first


def _gateway(connection: Connection, counted: Counted) -> dict[str, Any]:
    """What is recorded of the requests that the gateway had counted by then."""
    table = usage_journals
    recorded = connection.scalar(select(table.c.closed).where(table.c.instance == counted.instance)) or 0
    days = _sums(connection, usage_days, usage_days.c.instance == counted.instance)
    later = _sums(
        connection,
        usage_records,
        (usage_records.c.instance == counted.instance) & (usage_records.c.closing > counted.closed),
    )
    return {
        "gateway": counted.instance,
        "settled": recorded >= counted.closed,
        "waiting": max(0, counted.closed - recorded),
        **sums_of({name: days[name] - later[name] for name in SUMS}),
    }


def _added_up(connection: Connection, by: str, since: ColumnElement[bool]) -> dict[str, Any]:
    column = usage_days.c[by]
    query = select(column, *summed(usage_days)).where(since).group_by(column)
    parts = [_ints(row) for row in connection.execute(query).mappings()]
    return {"count": len(parts), **sums_of(_plus(parts))}


def _sums(connection: Connection, table: Table, condition: ColumnElement[bool]) -> Sums:
    return _ints(connection.execute(select(*summed(table)).where(condition)).mappings().one())


def _ints(row: Any) -> Sums:
    return {name: int(row[name]) for name in SUMS}


def _plus(parts: Iterable[Sums]) -> Sums:
    total = dict.fromkeys(SUMS, 0)
    for part in parts:
        for name in SUMS:
            total[name] += part[name]
    return total
