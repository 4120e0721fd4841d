"""Journal entries as rows: pure. A record's row, and the day's sums that a batch of rows adds."""

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from slipway.gateway.usage.entries import Opened, Outcome
from slipway.gateway.usage.tables import DAY_US, SUMS, usage_days, usage_records

KILLED = "gateway_killed"
"""`error` of a record whose gateway ended before the request did; its tokens are those reserved for it."""
LARGEST = 1 << 52
"""What tokens and cost are cut to; far beyond any true count, and their sums fit the database."""

Row = tuple[Any, ...]
"""The values of a record, in the order of COLUMNS."""
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
"""The points of a request's way that a record has times of, in their order: its last columns."""
_NO_TIMES: list[int | None] = [None] * len(POINTS)


def _columns(*names: str) -> Any:
    return itemgetter(*map(COLUMNS.index, names))


_DAY = _columns(
    "started_us", "owner", "key", "model", "served_model", "revision", "operation", "instance", "batch"
)
_ADDED = _columns("error", "prompt_tokens", "completion_tokens", "cached_tokens", "cost_nano")


def started_us(entry: str) -> int:
    """When the request of a record began, in microseconds since 1970: the front of its id."""
    return int(entry[:13], 16)


def first_id(time_us: int) -> str:
    """No record that began at `time_us` or later has a smaller id."""
    return f"{time_us:013x}"


def record_id(instance: str, number: int, started_us: int) -> str:
    """A record's id: sorts by time, differs between processes, is the same however often it is read."""
    return f"{started_us:013x}{instance}{number & 0xFFF_FFFF:07x}"


def record_row(instance: str, number: int, opened: Opened, closing: int | None, outcome: Outcome) -> Row:
    """The row of a request, in the order of COLUMNS."""
    started_us, asked = opened
    texts, request_id, stream, _, _, _, trace_id, batch = asked
    key, owner, model, route, operation, priority, served_model, service, revision = texts
    where, status, attempts, prompt, completion, cached, cost, estimated, error, times = outcome
    endpoint, served_revision = where
    if times:
        start, *points = times
        after = [round((point - start) * 1_000_000) if point else None for point in points]  # type: ignore[operator]
    else:
        after = _NO_TIMES
    used = (prompt, completion, cached, cost)
    if max(used) > LARGEST:
        prompt, completion, cached, cost = (int(min(each, LARGEST)) for each in used)
    return (
        record_id(instance, number, started_us),
        started_us,
        instance,
        closing,
        request_id,
        trace_id,
        key,
        owner,
        model,
        served_model,
        service,
        served_revision or revision,
        endpoint,
        route,
        operation,
        batch,
        stream,
        priority,
        status,
        error,
        attempts,
        prompt,
        completion,
        cached,
        estimated,
        cost,
        *after,
    )


def killed_row(instance: str, number: int, opened: Opened) -> Row:
    """The row of a request that was under way when its gateway was killed: its reservation stands for it."""
    asked = opened[1]
    reserved = (asked.prompt, asked.completion, 0, asked.cost)
    outcome = Outcome(("", ""), 500, 1, *reserved, estimated=True, error=KILLED)
    return record_row(instance, number, opened, None, outcome)


def day_rows(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """What the rows add to each day's sums, in the order of their keys."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        started_us, *names, batch = _DAY(row)
        key = (started_us // DAY_US, *names[:-1], batch is not None, names[-1])
        added = sums.get(key)
        if added is None:
            added = sums[key] = [0] * len(SUMS)
        error, prompt, completion, cached, cost = _ADDED(row)
        added[0] += 1
        added[1] += error != ""
        added[2] += prompt
        added[3] += completion
        added[4] += cached
        added[5] += cost
    return [dict(zip((*DAY_KEYS, *SUMS), (*key, *added), strict=True)) for key, added in sorted(sums.items())]
