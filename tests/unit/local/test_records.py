"""What the supervisor writes into the state folder, and what becomes of it there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipway.local.folders import StateFolder
from slipway.local.records import Records

REPORT: dict[str, Any] = {"supervisor": {"pid": 1}, "services": []}


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    state = StateFolder(tmp_path / "state")
    state.create()
    return state


@pytest.mark.parametrize("name", ["status", "endpoints", "processes"])
@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("{")])
def test_a_file_that_another_hand_damaged_is_written_anew(
    state: StateFolder, name: str, harm: Callable[[Path], object]
) -> None:
    said: list[str] = []
    records = Records(state, said.append)

    def write() -> None:
        records.endpoints(["chat"], [])
        records.processes([])

    write()
    records.publish(REPORT)
    assert not records.retry()
    path: Path = getattr(state, name)
    good = path.read_text()
    harm(path)
    assert records.retry()
    write()
    records.publish(REPORT)
    assert path.read_text() == good
    assert not records.retry()
    assert len(said) == 1
    assert str(path) in said[0]


@pytest.mark.parametrize("text", ["", "[]", '{"sequence": "x"}', '{"sequence": null}', "{}"])
def test_a_damaged_count_of_applied_files_begins_anew(state: StateFolder, text: str) -> None:
    state.applied.write_text(text)
    assert state.sequence() == 0
    state.write_json(state.applied, {"sequence": 3})
    assert state.sequence() == 3
