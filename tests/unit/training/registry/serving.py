"""The real server as a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Served:
    """A server that takes connections."""

    host: str
    process: "subprocess.Popen[str]"


@contextmanager
def serving(root: Path, *arguments: str) -> Iterator[Served]:
    """Serve `root` on a free port of loopback until the block ends."""
    command = [sys.executable, "-m", "slipway.training.registry", "serve", "--root", str(root), "--port", "0"]
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert " at http://" in line, line
        yield Served(line.strip().rpartition("http://")[2], process)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
