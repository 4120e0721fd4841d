"""The database behind threads of its own: one transaction a call, bounded in number and in time.

SQLite's transactions begin at once and as writers (`BEGIN IMMEDIATE`): what one has read is still true when
it writes, and none fails half-way because another was faster. Those that only read ask for it (`read`) and
wait for nobody.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError

from slipway.gateway.errors import APIError, invalid_request, retry_after

T = TypeVar("T")
MIGRATIONS = Path(__file__).parent / "migrations"
_ONLY_READS = "slipway_only_reads"
_MIGRATION_LOCK = 0x51_1B_3A_79
"""PostgreSQL's advisory lock that gateways hold one after the other while they migrate."""


def unavailable() -> APIError:
    """503 for whatever needs the database while it is away."""
    return APIError(
        503,
        "database_unavailable",
        "What this needs is kept in a database that does not answer now. Try again in a few seconds.",
        headers=retry_after(2.0),
    )


def open_engine(url: str, seconds: float, connections: int = 4, *, durable: bool = False) -> Engine:
    """An engine whose connections give up after `seconds`. Makes SQLite's folder where it is missing.

    `durable`: SQLite's commits are on the disk when they return, not only safe from the process's end.
    """
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, connect_args={"timeout": seconds}, pool_size=connections)
        event.listen(engine, "connect", _prepare_durable_sqlite if durable else _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(
        parsed,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=seconds,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": max(1, int(seconds)),
            # A database made in the C locale says SQL_ASCII, and the driver would hand out bytes.
            "client_encoding": "utf8",
            "options": f"-c statement_timeout={int(seconds * 1000)} -c timezone=UTC",
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": int(seconds * 1000),
        },
    )


def _prepare_sqlite(connection: sqlite3.Connection, _: Any, synchronous: str = "NORMAL") -> None:
    # The driver begins transactions late, before the first change only; `_begin_sqlite` does it in its place.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _prepare_durable_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    _prepare_sqlite(connection, record, "FULL")


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get(_ONLY_READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction whose queries all see the same moment, and that waits for no writer."""
    with engine.connect().execution_options(**{_ONLY_READS: True}) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield connection


def migrate(engine: Engine) -> None:
    """Bring the schema up to date, wholly or not at all. Processes that start together do it in turn."""
    # A tenth of the gateway's import, and of use here alone.
    import alembic.command
    import alembic.config

    config = alembic.config.Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # Both end with the transaction. Who waits for others' migrations waits longer than for a query.
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "head")


class Database:
    """Runs functions in transactions, off the event loop."""

    def __init__(self, url: str, *, seconds: float = 5.0, threads: int = 4) -> None:
        """`url` is SQLAlchemy's (`sqlite:///FILE`, `postgresql://…`); `seconds` bounds every call."""
        self.engine = open_engine(url, seconds, threads)
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(threads, "database")
        self._room = threads * 64
        self._running = 0
        self.migrated = False
        """Before that nothing is asked of it."""

    async def run(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, from one transaction.

        Raises APIError: 503 when no answer comes, 400 for a text that the database does not keep.
        """
        return await self._call(self._transact, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """The same for work that only reads: all its queries see one moment, and no writer is waited for."""
        return await self._call(self._look, work)

    async def _call(
        self, way: Callable[[Callable[[Connection], T]], T], work: Callable[[Connection], T]
    ) -> T:
        if not self.migrated or self._running >= self._room:
            raise unavailable()
        self._running += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, way, work)
        future.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(2 * self._seconds):
                return await asyncio.shield(future)
        except TimeoutError:
            raise unavailable() from None
        except DBAPIError as error:
            if isinstance(error, DataError) and _holds_nul(error.params):
                raise invalid_request("A text of the request holds the character NUL.") from error
            if error.connection_invalidated or not _is_a_mistake(error):
                raise unavailable() from error
            raise
        except SQLAlchemyError as error:
            raise unavailable() from error

    async def migrate(self) -> None:
        """Bring the schema up to date. Raises SQLAlchemy's errors."""
        await asyncio.get_running_loop().run_in_executor(self._threads, migrate, self.engine)
        self.migrated = True

    def close(self) -> None:
        """Close the connections; for a call that runs nobody waits but the thread that closes after it."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        Thread(target=self._dispose, daemon=True).start()

    def _dispose(self) -> None:
        self._threads.shutdown(wait=True)
        self.engine.dispose()

    def _transact(self, work: Callable[[Connection], T]) -> T:
        with self.engine.begin() as connection:
            return work(connection)

    def _look(self, work: Callable[[Connection], T]) -> T:
        with reading(self.engine) as connection:
            return work(connection)

    def _ended(self, future: "asyncio.Future[Any]") -> None:
        self._running -= 1
        if not future.cancelled():
            future.exception()  # Seen: a call whose caller has given up must not be reported as forgotten.


def _holds_nul(parameters: object) -> bool:
    """Whether a text has the one character that PostgreSQL neither keeps nor looks for."""
    if isinstance(parameters, str):
        return "\0" in parameters
    if isinstance(parameters, Mapping):
        parameters = tuple(parameters.values())
    return isinstance(parameters, list | tuple) and any(map(_holds_nul, parameters))


def _is_a_mistake(error: DBAPIError) -> bool:
    """Whether the statement is at fault (a constraint, a syntax error), not the database's absence."""
    return type(error).__name__ in ("IntegrityError", "ProgrammingError", "DataError", "NotSupportedError")
