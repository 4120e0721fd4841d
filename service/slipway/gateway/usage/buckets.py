"""Usage and costs in buckets of time, in the shape of OpenAI's organization API."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, not_, select

from slipway.gateway.usage.reports import Filters, summed
from slipway.gateway.usage.rows import first_id
from slipway.gateway.usage.tables import usage_days, usage_records
from slipway.objects.money import NANO

WIDTHS = {"1m": 60, "1h": 3600, "1d": 86_400}
"""Seconds of a bucket."""
_POOLING = ("embeddings", "score", "rerank", "classify", "tokenize", "detokenize")
_COLUMNS = {"project_id": "owner", "user_id": "owner", "api_key_id": "key", "model": "model"}
"""What OpenAI's fields are here. An owner is a project to some, a user to others."""

Result = Callable[[RowMapping], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Report:
    """One of the reports: which operations count, what it can be grouped by, how a result looks."""

    operations: Callable[[Table], ColumnElement[bool] | None]
    groups: tuple[str, ...]
    result: Result


@dataclass(frozen=True, slots=True)
class Span:
    """Buckets from `start` on, at most `count`, none that begins at or after `end`; all in seconds."""

    start: int
    end: int
    width: int
    count: int

    def starts(self) -> range:
        """When the buckets begin."""
        first = self.start // self.width * self.width
        return range(first, min(self.end, first + self.count * self.width), self.width)


def page_of(
    connection: Connection,
    report: Report,
    span: Span,
    groups: Sequence[str],
    filters: Filters,
    batch: bool | None,
) -> dict[str, Any]:
    """A page of buckets. Those of a day come from the days' sums, shorter ones from the records."""
    starts = span.starts()
    after = starts.start + len(starts) * span.width
    found: dict[int, list[dict[str, Any]]] = {}
    for row in _rows(connection, report, starts, span.width, groups, filters, batch):
        named = {name: row[_column(name)] for name in groups}
        found.setdefault(int(row["bucket"]) * span.width, []).append(
            _none(report) | report.result(row) | named
        )
    more = after < span.end
    return {
        "object": "page",
        "data": [
            {
                "object": "bucket",
                "start_time": start,
                "end_time": start + span.width,
                "results": found.get(start, []),
            }
            for start in starts
        ],
        "has_more": more,
        "next_page": f"page_{after}" if more else None,
    }


def _rows(
    connection: Connection,
    report: Report,
    starts: range,
    width: int,
    groups: Sequence[str],
    filters: Filters,
    batch: bool | None,
) -> Sequence[RowMapping]:
    end = starts.start + len(starts) * width
    if width == WIDTHS["1d"]:
        table = usage_days
        batched: ColumnElement[bool] = table.c.batched
        bucket: ColumnElement[int] = table.c.day
        span = table.c.day.between(starts.start // width, end // width - 1)
    else:
        table = usage_records
        batched = table.c.batch.is_not(None)
        bucket = table.c.started_us // (width * 1_000_000)
        span = table.c.id.between(first_id(starts.start * 1_000_000), first_id(end * 1_000_000))
    columns = [
        bucket.label("bucket"),
        *(
            (batched if name == "batch" else table.c[_column(name)]).label(_column(name))
            for name in dict.fromkeys(groups)
        ),
    ]
    unique = list({column.name: column for column in columns}.values())
    query = select(*unique, *summed(table)).where(span, *filters.conditions(table))
    operations = report.operations(table)
    if operations is not None:
        query = query.where(operations)
    if batch is not None:
        query = query.where(batched if batch else not_(batched))
    names = [column.name for column in unique]
    return connection.execute(query.group_by(*names).order_by(*names)).mappings().all()


def _column(name: str) -> str:
    return "batched" if name == "batch" else _COLUMNS.get(name, "model")


def _none(report: Report) -> dict[str, Any]:
    return dict.fromkeys(report.groups)


def _completions(row: RowMapping) -> dict[str, Any]:
    prompt, cached = int(row["prompt_tokens"]), int(row["cached_tokens"])
    return {
        "object": "organization.usage.completions.result",
        "num_model_requests": int(row["requests"]),
        "input_tokens": prompt,
        "input_cached_tokens": cached,
        "input_uncached_tokens": prompt - cached,
        "output_tokens": int(row["completion_tokens"]),
    }


def _embeddings(row: RowMapping) -> dict[str, Any]:
    return {
        "object": "organization.usage.embeddings.result",
        "num_model_requests": int(row["requests"]),
        "input_tokens": int(row["prompt_tokens"]),
    }


def _costs(row: RowMapping) -> dict[str, Any]:
    return {
        "object": "organization.costs.result",
        "amount": {"value": int(row["cost_nano"]) / NANO, "currency": "usd"},
    }


COMPLETIONS = Report(
    lambda table: table.c.operation.not_in(_POOLING),
    ("project_id", "user_id", "api_key_id", "model", "batch"),
    _completions,
)
EMBEDDINGS = Report(
    lambda table: table.c.operation == "embeddings",
    ("project_id", "user_id", "api_key_id", "model"),
    _embeddings,
)
COSTS = Report(lambda table: None, ("project_id", "user_id", "api_key_id", "line_item"), _costs)
"""A line item is a model."""
