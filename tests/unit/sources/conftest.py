from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.sources.cache import Cache
from unit.sources.webserver import WebServer


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", free=lambda _: 1 << 40)


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer().running() as server:
        yield server
