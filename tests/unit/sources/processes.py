"""Processes that fetch, seen from the outside."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slipway.sources import manifests
from slipway.sources.cache import Cache
from unit.sources import models

TESTS = Path(__file__).parents[2]


class Worker:
    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "unit.sources.worker", *map(str, arguments)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        )

    def lines(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout
        for line in self.process.stdout:
            yield json.loads(line)

    def finish(self) -> list[dict[str, Any]]:
        with self.process:
            return list(self.lines())

    def kill(self) -> None:
        self.process.kill()
        self.finish()


def serves_the_whole(root: Path) -> bool:
    """Whether the cache serves the model; it must never serve anything else."""
    entry = Cache(root).lookup("web:1")
    if entry is None:
        return False
    assert models.content(entry.path) == models.files()
    assert manifests.Manifest.load(entry.path).damage(entry.path) is None
    return True
