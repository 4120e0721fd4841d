"""Real servers that tests need, on free ports of loopback, each in a folder of its own.

A test module's conftest imports the fixtures it wants from here.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from integration.waiting import free_port, until


class Postgres:
    """One PostgreSQL. It refuses to run as root; then it runs as the user `postgres`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
        self.port = free_port()
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self.folder, self._user, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self._run("initdb", "--no-sync", "--auth=trust", "--username=slipway", "--encoding=UTF8")

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [
            *(_program("postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)),
            *("-h", "127.0.0.1", "-k", str(self.folder)),
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._as_user()
            )
        until(self._answers, "PostgreSQL's answer")

    def new_database(self, *, encoding: str = "UTF8") -> str:
        """The URL of an empty database."""
        self._databases += 1
        name = f"test_{self._databases}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            options = f"TEMPLATE template0 LOCALE 'C' ENCODING '{encoding}'"
            connection.execute(f"CREATE DATABASE {name} {options}")
        return self._url(name)

    def pause(self) -> None:
        """Stop all its processes where they are; their connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL for all its processes."""
        process = self._process
        if process is None:
            return
        mine = self._processes()
        self._signal(signal.SIGKILL)
        process.wait(30)
        until(lambda: not any(_alive(each) for each in mine), "the end of PostgreSQL's processes")
        self._process = None

    def remove(self) -> None:
        """End it and delete its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _url(self, database: str) -> str:
        return f"postgresql://slipway@127.0.0.1:{self.port}/{database}"

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            psycopg.connect(self._url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _processes(self) -> list[int]:
        """Its own id, and those of its children."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [self._process.pid, *map(int, children.read_text().split())]

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes():
            os.kill(process, number)

    def _run(self, program: str, *arguments: str) -> None:
        command = [_program(program), "-D", str(self.folder / "data"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, **self._as_user())
        assert done.returncode == 0, done.stdout + done.stderr

    def _as_user(self) -> dict[str, Any]:
        return {} if self._user is None else {"user": self._user, "group": self._user, "cwd": "/"}


def _program(name: str) -> str:
    """Debian keeps PostgreSQL's programs beside the PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(versions[-1]) if versions else None)
    assert found is not None, f"{name} is not installed"
    return found


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL that all tests of the session share."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres(postgres_server: Postgres) -> str:
    """The URL of an empty database."""
    return postgres_server.new_database()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL that the test may kill."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()
