"""Databases of both kinds."""

from pathlib import Path

import pytest

from integration.servers import postgres as postgres
from integration.servers import postgres_server as postgres_server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/gateway.db"
    return str(request.getfixturevalue("postgres"))
