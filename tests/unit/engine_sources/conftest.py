from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.engine.sources.cache import Cache
from unit.engine_sources.webserver import WebServer


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", free=lambda _: 1 << 40)


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer().running() as server:
        yield server
