"""The schema: what the migrations make is what the code declares, however many processes make it at once."""

import importlib
import pkgutil
import subprocess
import sys

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

import slipway.gateway
from integration.servers import Postgres
from slipway.gateway.storage.database import migrate, open_engine
from slipway.gateway.storage.tables import metadata

MIGRATE = (
    "import sys; from slipway.gateway.storage.database import migrate, open_engine; "
    "sys.stdin.readline(); migrate(open_engine(sys.argv[1], 30.0))"
)


def _declare_all_tables() -> None:
    for module in pkgutil.walk_packages(slipway.gateway.__path__, "slipway.gateway."):
        if module.name.endswith(".tables"):
            importlib.import_module(module.name)


def test_the_migrations_make_what_the_code_declares(url: str) -> None:
    _declare_all_tables()
    engine = open_engine(url, 10.0)
    migrate(engine)

    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
    assert set(inspect(engine).get_table_names()) == {*metadata.tables, "alembic_version"}
    engine.dispose()


def test_processes_that_migrate_at_once_wait_for_each_other(url: str) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", MIGRATE, url], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in processes:  # They are loaded by now or soon; the line lets all of them go together.
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()

    errors = [process.communicate(timeout=60)[1].decode() for process in processes]

    assert [process.returncode for process in processes] == [0] * 4, errors
    engine = open_engine(url, 10.0)
    assert "usage_records" in inspect(engine).get_table_names()
    engine.dispose()


def test_a_database_made_in_the_c_locale_works(postgres_server: Postgres) -> None:
    engine = open_engine(postgres_server.new_database(encoding="SQL_ASCII"), 10.0)
    migrate(engine)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 'Größe'")) == "Größe"
    engine.dispose()
