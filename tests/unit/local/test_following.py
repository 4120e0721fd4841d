"""What a status tells from outside."""

import os

from slipway.local.folders import StateFolder
from slipway.local.following import observed
from slipway.local.processes import Identity


def test_a_status_of_a_supervisor_that_is_gone_counts_no_more(state: StateFolder) -> None:
    own = Identity.of(os.getpid())
    assert own is not None
    about = {"pid": own.pid, "startTime": own.start, "startedAt": None, "state": "Running", "message": ""}
    written = {
        "supervisor": about,
        "applied": 1,
        "gateway": {"url": "http://x", "state": "Ready"},
        "services": [{"state": "Ready"}],
    }
    state.write_json(state.status, written)
    assert observed(state)["ready"] is True
    state.write_json(state.status, written | {"services": [{"state": "Degraded"}]})
    assert observed(state)["ready"] is False
    state.write_json(state.status, written | {"supervisor": about | {"startTime": own.start - 1}})
    gone = observed(state)
    assert gone["ready"] is False
    assert gone["supervisor"]["pid"] is None
    assert "killed" in gone["supervisor"]["message"]
    assert gone["services"] == []
