"""What was used: sums of days by owner, key, model, …, and the records of one request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, RowMapping, Select, Table, func, select

from slipway.gateway.usage.rows import POINTS
from slipway.gateway.usage.tables import SUMS, usage_days, usage_records
from slipway.objects.money import dollars

GROUPS = ("day", "owner", "key", "model", "served_model", "revision", "operation")
"""What sums can be parted by."""
_FIRST = date(1970, 1, 1)
_WORDS = ("key", "owner", "model", "served_model", "service", "revision", "endpoint", "route", "operation")
_FACTS = ("batch", "stream", "priority", "status", "error", "attempts", "trace_id")
_COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens", "estimated")


def day_number(day: date) -> int:
    """Days since 1970, as the tables have them."""
    return (day - _FIRST).days


def day_of(number: int) -> date:
    """The day with this number."""
    return _FIRST + timedelta(days=number)


@dataclass(frozen=True, slots=True)
class Filters:
    """Whose usage; an empty field is no condition."""

    owners: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    models: tuple[str, ...] = ()

    def conditions(self, table: Table) -> list[ColumnElement[bool]]:
        """As SQL over a table of usage."""
        wanted = ((table.c.owner, self.owners), (table.c.key, self.keys), (table.c.model, self.models))
        return [column.in_(values) for column, values in wanted if values]


def summed(table: Table) -> list[ColumnElement[int]]:
    """The sums over `usage_days` or `usage_records`, under the names of SUMS."""
    if table is usage_days:
        return [_whole(table.c[name]).label(name) for name in SUMS]
    failed = func.count().filter(table.c.error != "")
    return [
        func.count().label("requests"),
        failed.label("failed"),
        *(_whole(table.c[name]).label(name) for name in SUMS[2:]),
    ]


def _whole(column: Column[Any]) -> ColumnElement[int]:
    # PostgreSQL's sum of a BIGINT is a NUMERIC.
    return func.coalesce(func.sum(column), 0)


def sums_of(row: RowMapping | Mapping[str, int]) -> dict[str, Any]:
    """A row's sums as they are shown: money as a string of dollars."""
    shown: dict[str, Any] = {name: int(row[name]) for name in SUMS if name != "cost_nano"}
    shown["cost_usd"] = dollars(int(row["cost_nano"]))
    return shown


def usage_by(
    connection: Connection,
    groups: Sequence[str],
    filters: Filters,
    first: date,
    last: date,
    *,
    limit: int,
    offset: int = 0,
) -> list[dict[str, Any]]:
    """Sums of the days from `first` to `last`, both included, parted by `groups`, in their order."""
    columns = [usage_days.c[name] for name in groups]
    query: Select[Any] = (
        select(*columns, *summed(usage_days))
        .where(usage_days.c.day.between(day_number(first), day_number(last)), *filters.conditions(usage_days))
        .limit(limit)
        .offset(offset)
    )
    if columns:
        query = query.group_by(*columns).order_by(*columns)
    return [
        {name: day_of(row[name]).isoformat() if name == "day" else row[name] for name in groups}
        | sums_of(row)
        for row in connection.execute(query).mappings()
    ]


def records_of(connection: Connection, request_id: str, filters: Filters) -> list[dict[str, Any]]:
    """The records of a request, newest first: clients choose ids, and may choose one again."""
    table = usage_records
    query = (
        select(table)
        .where(table.c.request_id == request_id, *filters.conditions(table))
        .order_by(table.c.id.desc())
        .limit(20)
    )
    return [describe(row) for row in connection.execute(query).mappings()]


def describe(row: RowMapping) -> dict[str, Any]:
    """A record as GET /v1/requests/ID shows it."""
    started = datetime.fromtimestamp(row["started_us"] / 1_000_000, UTC)
    return {
        "id": row["id"],
        "object": "usage.record",
        "request_id": row["request_id"],
        "started_at": started.isoformat().replace("+00:00", "Z"),
        **{name: row[name] for name in (*_WORDS, *_FACTS, *_COUNTS)},
        "cost_usd": dollars(row["cost_nano"]),
        "gateway": row["instance"],
        "points_us": {name.removesuffix("_us"): row[name] for name in POINTS},
        "timings": timings(row),
    }


def timings(row: RowMapping) -> dict[str, float | None]:
    """Milliseconds of the stages, one after the other; null for those that were not reached.

    `queue`: after the limits, until an endpoint was free; `prefill`: until the first token of a stream;
    `decode`: from there to the end; `engine`: both, which is all that is known of a whole answer.
    """
    sent, first, total = row["sent_us"], row["first_byte_us"], row["total_us"]
    return {
        "auth_ms": _between(0, row["authenticated_us"]),
        "limits_ms": _between(row["authenticated_us"], row["limited_us"]),
        "queue_ms": _between(row["limited_us"], sent),
        "prefill_ms": _between(sent, first),
        "decode_ms": _between(first, total),
        "engine_ms": _between(sent, total),
        "total_ms": _between(0, total),
    }


def _between(start: int | None, end: int | None) -> float | None:
    return None if start is None or end is None else max(0, end - start) / 1000
