"""The store of responses, on every database that it may be kept in."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from slipway.gateway.errors import APIError
from slipway.gateway.responses import store
from slipway.gateway.responses.answers import begun, failed
from slipway.gateway.responses.items import normal
from slipway.gateway.responses.store import Bounds
from slipway.gateway.responses.tables import events, responses
from slipway.gateway.storage.database import migrate, open_engine

BOUNDS = Bounds(links=10, size=1_000_000)
DAY_US = 86_400_000_000


@pytest.fixture
def database(url: str) -> Iterator[Engine]:
    engine = open_engine(url, 10.0)
    migrate(engine)
    yield engine
    engine.dispose()


def begin(database: Engine, name: str, previous: str | None = None, **fields: Any) -> dict[str, Any]:
    asked = {"model": "m", "previous_response_id": previous, "background": True}
    response = begun(name, asked, "in_progress", 1.0)
    row = {"owner": "a", "key": "k", "gateway": "g", "stream": True, "now_us": 1, "expires_us": DAY_US}
    with database.begin() as connection:
        store.begin(
            connection,
            response=response,
            items=normal(f"in {name}"),
            **{**row, "lease_until_us": 100, **fields},
        )
    return response


def complete(database: Engine, name: str, previous: str | None = None) -> dict[str, Any]:
    response = begin(database, name, previous)
    said = {"type": "message", "id": f"msg_{name}", "role": "assistant", "content": [], "status": "completed"}
    response = {**response, "status": "completed", "output": [said]}
    with database.begin() as connection:
        assert store.end(connection, response)
    return response


def test_a_chain_is_followed_to_its_beginning_and_kept(database: Engine) -> None:
    previous = None
    for name in ("r1", "r2", "r3"):
        complete(database, name, previous)
        previous = name
    complete(database, "other")
    with database.begin() as connection:
        items = store.chain(connection, "r3", "a", BOUNDS, 2 * DAY_US, "p")
        kept = set(connection.scalars(select(responses.c.id).where(responses.c.expires_us == 2 * DAY_US)))
    assert [item.get("role") for item in items] == ["user", "assistant"] * 3
    assert [item["content"][0]["text"] for item in items[::2]] == ["in r1", "in r2", "in r3"]
    assert kept == {"r1", "r2", "r3"}


@pytest.mark.parametrize(
    ("bounds", "owner", "status"),
    [
        (Bounds(3, 1_000_000), "a", None),
        (Bounds(2, 1_000_000), "a", 400),
        (Bounds(10, 100), "a", 400),
        (BOUNDS, "b", 404),
    ],
)
def test_a_chain_has_bounds_and_an_owner(
    database: Engine, bounds: Bounds, owner: str, status: int | None
) -> None:
    complete(database, "r1")
    complete(database, "r2", "r1")
    complete(database, "r3", "r2")
    with database.begin() as connection:
        if status is None:
            assert store.chain(connection, "r3", owner, bounds, 1, "p")
            return
        with pytest.raises(APIError) as refused:
            store.chain(connection, "r3", owner, bounds, 1, "p")
    assert (refused.value.status, refused.value.param) == (status, "p")


def test_one_of_an_end_and_a_cancel_wins(database: Engine) -> None:
    for round_ in range(10):
        response = begin(database, f"r{round_}")

        def end(ended: dict[str, Any] = response) -> bool:
            with database.begin() as connection:
                return store.end(connection, {**ended, "status": "completed"})

        def cancel(name: str = response["id"]) -> str:
            with database.begin() as connection:
                status: str = store.cancel(connection, name, "a").status
                return status

        with ThreadPoolExecutor(2) as threads:
            ended, status = threads.submit(end), threads.submit(cancel)
        assert status.result() == ("completed" if ended.result() else "cancelled")


def test_what_a_dead_gateway_left_is_found_and_what_a_living_one_makes_is_not(database: Engine) -> None:
    begin(database, "left")
    begin(database, "made", gateway="h")
    complete(database, "done")
    with database.begin() as connection:
        store.renew(connection, "h", 1000)
        left = store.abandoned(connection, 500)
        assert [response["id"] for response in left] == ["left"]
        assert store.end(connection, failed(left[0], "server_error", "Gone."))
        assert store.abandoned(connection, 500) == []
        assert store.still_wanted(connection, ["left", "made", "done"]) == {"made"}


def test_events_go_with_their_response(database: Engine) -> None:
    begin(database, "r1")
    with database.begin() as connection:
        store.record(connection, "r1", [(0, "a"), (1, "b")])
        store.record(connection, "never", [(0, "a")])  # It was deleted meanwhile.
    with database.begin() as connection:
        row, told = store.told(connection, "r1", "a", 0)
        assert (row.status, told) == ("in_progress", [(1, "b")])
        store.forget_events(connection, DAY_US)  # It is being made: they stay.
        assert store.told(connection, "r1", "a", -1)[1] == [(0, "a"), (1, "b")]
        store.remove(connection, "r1", "a")
        assert connection.scalar(select(func.count()).select_from(events)) == 0


def test_old_events_and_old_responses_go(database: Engine) -> None:
    response = begin(database, "r1")
    with database.begin() as connection:
        store.record(connection, "r1", [(0, "a")])
        store.end(connection, {**response, "status": "completed"})
        store.forget_events(connection, 1)
        assert store.told(connection, "r1", "a", -1)[1]
        store.forget_events(connection, 2)
        assert store.told(connection, "r1", "a", -1)[1] == []
        assert store.expire(connection, DAY_US) == 0
        assert store.expire(connection, DAY_US + 1) == 1
        with pytest.raises(APIError):
            store.row_of(connection, "r1", "a")
