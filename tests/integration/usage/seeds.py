"""Usage records of days gone by, put where a recorder puts them."""

import time
from typing import Any

from sqlalchemy import Engine

from slipway.gateway.usage import store
from slipway.gateway.usage.rows import Row, record_row
from slipway.gateway.usage.store import Position
from slipway.gateway.usage.tables import DAY_US

INSTANCE = "aaaaaaaaaaaa"
TODAY = int(time.time()) * 1_000_000 // DAY_US
"""Days since 1970. A run over midnight still sees the days it made."""


def record(number: int, *, day: int = 0, second: int = 0, **told: Any) -> Row:
    """A record of `day` days ago: 10 tokens in, 4 of them cached, 5 out, for 1000 nano-dollars."""
    started = (TODAY - day) * DAY_US + second * 1_000_000
    usual = {
        "request_id": f"req-{number}",
        "key": "local",
        "owner": "default",
        "model": "m",
        "served_model": "m",
        "service": "m",
        "revision": "r1",
        "route": "/v1/chat/completions",
        "operation": "chat",
        "priority": "normal",
        "status": 200,
        "attempts": 1,
        "tokens": (10, 5, 4, 1000),
    }
    return record_row(INSTANCE, {**usual, "id": f"{started:013x}{INSTANCE}{number:07x}", **told})


def add(engine: Engine, *rows: Row) -> None:
    """Record them."""
    with engine.begin() as connection:
        before = store.attach(connection, INSTANCE, 0)
        assert before is not None
        after = Position(before.segment, before.offset + len(rows), before.closed + len(rows))
        store.add(connection, INSTANCE, rows, before, after)
