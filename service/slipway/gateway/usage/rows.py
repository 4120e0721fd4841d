"""Journal entries as rows: pure. A record's row, and the day's sums that a batch of rows adds."""

from collections.abc import Iterable, Mapping
from typing import Any

from slipway.gateway.usage.tables import DAY_US, SUMS, usage_days, usage_records

KILLED = "gateway_killed"
"""`error` of a record whose gateway ended before the request did; its tokens are those reserved for it."""
LARGEST = 1 << 52
"""What tokens and cost are cut to; far beyond any true count, and their sums fit the database."""

Row = dict[str, Any]
COLUMNS = tuple(column.name for column in usage_records.columns)
DAY_KEYS = tuple(column.name for column in usage_days.primary_key.columns)
POINTS = (
    "authenticated_us",
    "limited_us",
    "relayed_us",
    "sent_us",
    "answered_us",
    "first_byte_us",
    "total_us",
)
"""The points of a request's way that a record has times of, in their order."""


def started_us(entry: str) -> int:
    """When the request of a record began, in microseconds since 1970: the front of its id."""
    return int(entry[:13], 16)


def first_id(time_us: int) -> str:
    """No record that began at `time_us` or later has a smaller id."""
    return f"{time_us:013x}"


def record_row(instance: str, entry: Mapping[str, Any]) -> Row:
    """The row of what `opened` and `closed` said about a request; defaults for what they did not say."""
    prompt, completion, cached, cost = entry.get("tokens", (0, 0, 0, 0))
    row: Row = {
        "id": entry["id"],
        "started_us": started_us(entry["id"]),
        "instance": instance,
        "closing": entry.get("closing"),
        "trace_id": entry.get("trace_id"),
        "batch": entry.get("batch"),
        "stream": bool(entry.get("stream")),
        "status": entry.get("status", 500),
        "attempts": entry.get("attempts", 0),
        "prompt_tokens": _bounded(prompt),
        "completion_tokens": _bounded(completion),
        "cached_tokens": _bounded(cached),
        "estimated": bool(entry.get("estimated")),
        "cost_nano": _bounded(cost),
    }
    for name in _TEXTS:
        text = entry.get(name, "")
        row[name] = text.replace("\0", "") if "\0" in text else text  # PostgreSQL's texts hold no NUL.
    start, *points = entry.get("times") or (0, *[None] * len(POINTS))
    for name, point in zip(POINTS, points, strict=True):
        row[name] = round((point - start) * 1_000_000) if point else None
    return row


_TEXTS = (
    "request_id",
    "key",
    "owner",
    "model",
    "served_model",
    "service",
    "revision",
    "endpoint",
    "route",
    "operation",
    "priority",
    "error",
)


def killed_row(instance: str, entry: Mapping[str, Any]) -> Row:
    """The row of a request that was under way when its gateway was killed: its reservation stands for it."""
    prompt, completion, cost = entry.get("reserved", (0, 0, 0))
    told = {"tokens": (prompt, completion, 0, cost), "estimated": True, "status": 500, "error": KILLED}
    return record_row(instance, {**entry, **told, "attempts": 1})


def day_rows(rows: Iterable[Row]) -> list[Row]:
    """What the rows add to each day's sums, in the order of their keys."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        added = sums.setdefault(_day_key(row), [0] * len(SUMS))
        added[0] += 1
        added[1] += row["error"] != ""
        added[2] += row["prompt_tokens"]
        added[3] += row["completion_tokens"]
        added[4] += row["cached_tokens"]
        added[5] += row["cost_nano"]
    return [dict(zip((*DAY_KEYS, *SUMS), (*key, *added), strict=True)) for key, added in sorted(sums.items())]


def _day_key(row: Row) -> tuple[Any, ...]:
    return (
        row["started_us"] // DAY_US,
        row["owner"],
        row["key"],
        row["model"],
        row["served_model"],
        row["revision"],
        row["operation"],
        row["batch"] is not None,
        row["instance"],
    )


def _bounded(count: float) -> int:
    return int(min(count, LARGEST))
