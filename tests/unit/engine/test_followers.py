"""The end of a further node: with its leader, and not before what the leader answers is done."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from slipway.engine.followers import check_place
from slipway.engine.options import OptionsError

FOLLOWER = """
import socket, sys
from slipway.engine.followers import End
from slipway.engine.reports import write

end = End(float(sys.argv[2]))
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as leader:
    end.watch(leader)
    write("following", "now")
    write("ended", "now", asked=end.wait())
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def follower(listener: socket.socket, patience: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", FOLLOWER, str(listener.getsockname()[1]), str(patience)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def line(process: "subprocess.Popen[str]") -> dict[str, object]:
    assert process.stderr is not None
    read: dict[str, object] = json.loads(process.stderr.readline())
    return read


def test_a_follower_that_was_told_to_end_does_so_when_its_leader_has(listener: socket.socket) -> None:
    with follower(listener, patience=3600) as process:
        leader, _ = listener.accept()
        assert line(process)["event"] == "following"
        for signum in (signal.SIGTERM, signal.SIGINT):  # The second changes nothing.
            os.kill(process.pid, signum)
        assert line(process)["event"] == "draining"
        assert process.poll() is None
        leader.close()
        assert line(process) | {"ts": ""} == {
            "ts": "", "level": "info", "event": "ended", "message": "now", "asked": True
        }  # fmt: skip


def test_a_leader_that_ends_unasked_ends_its_follower_as_a_failure(listener: socket.socket) -> None:
    with follower(listener, patience=3600) as process:
        leader, _ = listener.accept()
        assert line(process)["event"] == "following"
        leader.close()
        assert line(process)["asked"] is False


def test_a_leader_that_lives_on_is_not_waited_for_for_ever(listener: socket.socket) -> None:
    with follower(listener, patience=0.2) as process:
        leader, _ = listener.accept()
        with leader:
            assert line(process)["event"] == "following"
            os.kill(process.pid, signal.SIGTERM)
            assert line(process)["event"] == "draining"
            assert line(process)["asked"] is True


@pytest.mark.parametrize(("nodes", "rank"), [(1, 0), (1, 1), (2, 0)])
def test_a_follower_without_a_place_behind_a_leader_is_told_what_to_give(nodes: int, rank: int) -> None:
    with pytest.raises(OptionsError, match="--node-rank"):
        check_place(nodes, rank)
    check_place(2, 1)
