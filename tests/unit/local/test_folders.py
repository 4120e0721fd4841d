"""The state folder: how it is found, written and locked."""

import os
import stat
from pathlib import Path

import pytest

from slipway.local.errors import StateError
from slipway.local.folders import StateFolder
from slipway.objects.places import default_state


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_default_folder_follows_the_environment() -> None:
    assert default_state({"SLIPWAY_STATE": "/x"}) == Path("/x")
    assert default_state({"XDG_STATE_HOME": "/y"}) == Path("/y/slipway")
    assert default_state({}) == Path.home() / ".local/state/slipway"


def test_a_write_that_fails_keeps_the_old_content(state: StateFolder) -> None:
    state.write(state.status, "old")
    with pytest.raises(UnicodeEncodeError):
        state.write(state.status, "new \ud800")
    assert state.status.read_text() == "old"
    assert [path.name for path in state.root.iterdir() if path.name.startswith(".")] == []


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match=r"is not a folder: choose another with --state DIR"):
        StateFolder(tmp_path / "file" / "state").create()
    full = StateFolder(tmp_path).explain(OSError(28, "No space left on device"))
    assert "is on a full disk: free some space" in str(full)
    denied = StateFolder(tmp_path).explain(OSError(13, "Permission denied"))
    assert "cannot be written (Permission denied)" in str(denied)


def test_only_one_holds_the_lock(state: StateFolder) -> None:
    lock = state.try_lock()
    assert lock is not None
    assert not os.get_inheritable(lock)
    assert state.try_lock() is None
    os.close(lock)
    again = state.try_lock()
    assert again is not None
    os.close(again)


def test_engines_get_one_key_for_good(state: StateFolder) -> None:
    assert state.engine_key() == state.engine_key()
    assert mode(state.secrets / "engine-key") == 0o600
