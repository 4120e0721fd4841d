"""What a transaction promises, on both kinds of database."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError

from slipway.gateway.errors import APIError
from slipway.gateway.storage.database import Database


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    one = Database(url, seconds=10.0)
    await one.migrate()
    await one.run(lambda connection: connection.execute(text("CREATE TABLE counter (value INTEGER)")))
    await one.run(lambda connection: connection.execute(text("INSERT INTO counter VALUES (0)")))
    yield one
    one.close()


def _value(connection: Connection) -> int:
    return int(connection.execute(text("SELECT value FROM counter")).scalar_one())


async def test_work_that_fails_leaves_nothing(database: Database) -> None:
    def fail(connection: Connection) -> None:
        connection.execute(text("UPDATE counter SET value = 7"))
        raise KeyError

    with pytest.raises(KeyError):
        await database.run(fail)

    assert await database.run(_value) == 0


@pytest.mark.parametrize("way", ["run", "read"])
async def test_a_text_that_cannot_be_kept_is_the_clients_mistake(database: Database, way: str) -> None:
    """PostgreSQL has no NUL, and SQLite finds nothing of that name."""
    looked_for = text("SELECT value FROM counter WHERE CAST(:name AS TEXT) = 'x'")

    def look(connection: Connection) -> object:
        return connection.execute(looked_for, {"name": "a\0b"}).first()

    if database.engine.dialect.name == "sqlite":
        assert await getattr(database, way)(look) is None
    else:
        with pytest.raises(APIError) as refused:
            await getattr(database, way)(look)
        assert (refused.value.status, refused.value.code) == (400, "invalid_value")
        with pytest.raises(DataError):  # No other wrong value is.
            await getattr(database, way)(lambda connection: connection.execute(text("SELECT 1 / 0")))
    assert await database.run(_value) == 0


async def test_a_reader_sees_one_moment_and_keeps_no_writer_waiting(database: Database) -> None:
    loop = asyncio.get_running_loop()
    first, written = asyncio.Event(), asyncio.Event()

    def look_twice(connection: Connection) -> tuple[int, int]:
        before = _value(connection)
        loop.call_soon_threadsafe(first.set)
        asyncio.run_coroutine_threadsafe(written.wait(), loop).result(20)
        return before, _value(connection)

    looking = asyncio.create_task(database.read(look_twice))
    await first.wait()
    await database.run(lambda connection: connection.execute(text("UPDATE counter SET value = 1")))
    written.set()

    assert await looking == (0, 0)
    assert await database.read(_value) == 1


async def test_what_was_read_is_still_true_when_it_is_written(tmp_path: Path) -> None:
    """Many read, then write: on SQLite none is lost and none fails because another was faster.

    PostgreSQL locks rows; the code asks for it with FOR UPDATE.
    """
    one = Database(f"sqlite:///{tmp_path}/gateway.db", seconds=10.0, threads=8)
    await one.migrate()
    await one.run(lambda connection: connection.execute(text("CREATE TABLE counter (value INTEGER)")))
    await one.run(lambda connection: connection.execute(text("INSERT INTO counter VALUES (0)")))

    def increase(connection: Connection) -> None:
        value = _value(connection)
        connection.execute(text("UPDATE counter SET value = :value"), {"value": value + 1})

    await asyncio.gather(*(one.run(increase) for _ in range(50)))

    assert await one.run(_value) == 50
    one.close()


async def test_a_database_that_is_not_there_is_503() -> None:
    one = Database("postgresql://nobody@127.0.0.1:1/none", seconds=1.0)
    one.migrated = True

    with pytest.raises(APIError) as refusal:
        await one.run(_value)

    assert (refusal.value.status, refusal.value.code) == (503, "database_unavailable")
    one.close()
