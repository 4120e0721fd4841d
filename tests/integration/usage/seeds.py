"""Usage records of days gone by, put where a recorder puts them."""

import time
from typing import Any

from sqlalchemy import Engine

from slipway.gateway.usage import store
from slipway.gateway.usage.rows import COLUMNS, Row, record_id
from slipway.gateway.usage.store import Position
from slipway.gateway.usage.tables import DAY_US

INSTANCE = "aaaaaaaaaaaa"
TODAY = int(time.time()) * 1_000_000 // DAY_US
"""Days since 1970. A run over midnight still sees the days it made."""


def record(number: int, *, day: int = 0, second: int = 0, **told: Any) -> Row:
    """A record of `day` days ago: 10 tokens in, 4 of them cached, 5 out, for 1000 nano-dollars."""
    started = (TODAY - day) * DAY_US + second * 1_000_000
    usual = {
        "id": record_id(INSTANCE, number, started),
        "started_us": started,
        "instance": INSTANCE,
        "request_id": f"req-{number}",
        "key": "local",
        "owner": "default",
        "model": "m",
        "served_model": "m",
        "service": "m",
        "revision": "r1",
        "endpoint": "",
        "route": "/v1/chat/completions",
        "operation": "chat",
        "stream": False,
        "priority": "normal",
        "status": 200,
        "error": "",
        "attempts": 1,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cached_tokens": 4,
        "cost_nano": 1000,
        "estimated": False,
    }
    if "tokens" in told:
        names = ("prompt_tokens", "completion_tokens", "cached_tokens", "cost_nano")
        usual |= dict(zip(names, told.pop("tokens"), strict=True))
    values: dict[str, Any] = usual | told
    return tuple(values.get(name) for name in COLUMNS)


def add(engine: Engine, *rows: Row) -> None:
    """Record them."""
    with engine.begin() as connection:
        before = store.attach(connection, INSTANCE, 0)
        assert before is not None
        after = Position(before.segment, before.offset + len(rows), before.closed + len(rows))
        store.add(connection, INSTANCE, rows, before, after)
