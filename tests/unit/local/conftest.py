"""What the tests of local runs share."""

from pathlib import Path

import pytest

from slipway.local.folders import StateFolder


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    folder.create()
    return folder
