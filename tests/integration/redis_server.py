"""A real Redis on a free port of loopback, which tests may kill, stop and start again."""

import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from integration.waiting import free_port, until


class Redis:
    """One Redis; it keeps nothing on disk, so that a restart is a loss of everything."""

    def __init__(self) -> None:
        assert shutil.which("redis-server"), "Install Redis (make test-packages)."
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *options: str) -> None:
        """Start it and wait until it answers."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "no", "--dir", str(self.folder), *options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: self.ask("PING") == "+PONG", "Redis's answer")

    def ask(self, *command: str) -> str:
        """The first line of a command's reply; "" where it does not answer."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=2) as link:
            link.sendall(b"*%d\r\n" % len(command))
            for part in command:
                link.sendall(b"$%d\r\n%b\r\n" % (len(part.encode()), part.encode()))
            return link.recv(65536).split(b"\r\n")[0].decode()
        return ""

    def pause(self) -> None:
        """Stop it where it is; connections stay open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """End it and delete its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[Redis]:
    """A Redis that all tests of the session share; each takes a prefix of its own."""
    server = Redis()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def redis() -> Iterator[Redis]:
    """A Redis of the test's own, to be killed and stopped."""
    server = Redis()
    try:
        server.start()
        yield server
    finally:
        server.remove()
