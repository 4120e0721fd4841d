"""Processes are known again by pid and start time."""

import json
import signal
import subprocess

from slipway.local.processes import Identity, Recorded, kill_leftovers


def test_a_pid_with_another_start_time_is_another_process() -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        identity = Identity.of(process.pid)
        assert identity is not None
        assert identity.alive()
        other = Recorded("x", identity.pid, (Identity(identity.pid, identity.start + 1),))
        assert kill_leftovers([other]) == []
        assert process.poll() is None
        same = Recorded("x", identity.pid, (identity,))
        assert kill_leftovers([same]) == [same]
        assert process.wait() == -signal.SIGKILL
    assert Recorded.from_json(json.loads(json.dumps(other.as_json()))) == other
    assert Recorded.from_json({"name": "x", "pid": 1, "members": "?"}) is None
