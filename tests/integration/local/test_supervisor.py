"""The supervisor itself, with short times, over stand-in engines."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from integration.local.places import service
from integration.local.standins import StandIns
from integration.waiting import free_port
from slipway.local.applying import apply
from slipway.local.folders import StateFolder
from slipway.local.keys import utc_now
from slipway.local.plans import Timing
from slipway.local.processes import Identity
from slipway.local.supervisor import Settings, Supervisor
from slipway.objects.loading import load

QUICK = Timing(
    backoff_first=0.05,
    backoff_most=0.2,
    probe_interval=0.05,
    probe_interval_starting=0.05,
    probe_timeout=0.3,
    restart_after=4,
    drain_delay=0.05,
    drain_timeout=0.5,
    tick=0.05,
)


class Run:
    """A supervisor at work in the test's own event loop."""

    def __init__(self, root: Path) -> None:
        self.state = StateFolder(root)
        self.state.create()
        self.said: list[str] = []

    def apply(self, text: str) -> None:
        apply(self.state, load(text.encode(), "test"), utc_now())

    def row(self) -> dict[str, Any]:
        rows = self.rows()
        return rows[0] if rows else {"state": "", "restarts": 0, "pid": 0}

    def rows(self) -> list[dict[str, Any]]:
        services = self.state.read_json(self.state.status).get("services", [])
        return [row for service in services for row in service["processes"]]

    def endpoints(self) -> list[bool]:
        found = json.loads(self.state.endpoints.read_text())
        return [entry["ready"] for entry in found.get("a", [])]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110  (other processes make it true)
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def going(self, timing: Timing = QUICK) -> AsyncIterator[Supervisor]:
        settings = Settings(port=free_port(), timing=timing)
        supervisor = Supervisor(self.state, StandIns(), settings, self.said.append)
        task = asyncio.create_task(supervisor.run())
        try:
            yield supervisor
        finally:
            supervisor.stop()
            await task


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "state")


async def test_a_hung_engine_loses_its_requests_then_its_life_and_comes_back(run: Run) -> None:
    run.apply(service())
    async with run.going():
        await run.until(lambda: run.row()["state"] == "Ready")
        hung = run.row()["pid"]
        os.kill(hung, signal.SIGSTOP)
        await run.until(lambda: run.row()["state"] == "Unready")
        assert run.endpoints() == [False]
        await run.until(lambda: run.row()["restarts"] == 1 and run.row()["state"] == "Ready")
        assert run.row()["pid"] != hung
        assert Identity.of(hung) is None
    assert any("does not answer its health probe" in line for line in run.said)
    assert any("did not answer 4 health probes in a row" in line for line in run.said)


async def test_an_engine_that_hung_for_a_moment_serves_on(run: Run) -> None:
    run.apply(service())
    async with run.going():
        await run.until(lambda: run.row()["state"] == "Ready")
        pid = run.row()["pid"]
        os.kill(pid, signal.SIGSTOP)
        await run.until(lambda: run.row()["state"] == "Unready")
        os.kill(pid, signal.SIGCONT)
        await run.until(lambda: run.row()["state"] == "Ready")
        assert (run.row()["pid"], run.row()["restarts"]) == (pid, 0)
        assert run.endpoints() == [True]


async def test_an_engine_that_ignores_sigterm_is_killed_when_its_time_is_over(run: Run) -> None:
    run.apply(service(env="STANDIN_FAULT: deaf") + service("b"))
    async with run.going():
        await run.until(lambda: [row["state"] for row in run.rows()] == ["Ready", "Ready"])
        pid = run.row()["pid"]
        run.apply(service("b"))
        await run.until(lambda: [row["name"] for row in run.rows()] == ["b/0"])
        assert Identity.of(pid) is None
    assert any("a/0 did not finish in time and was killed" in line for line in run.said)


async def test_the_endpoints_are_right_at_once_when_an_engine_ends(run: Run) -> None:
    run.apply(service())
    async with run.going(replace(QUICK, backoff_first=600, backoff_most=600)) as supervisor:
        await run.until(lambda: run.row()["state"] == "Ready")
        await run.until(lambda: supervisor.was_ready)
        os.kill(run.row()["pid"], signal.SIGKILL)
        await run.until(lambda: run.row()["state"] == "Waiting")
        assert run.endpoints() == []


async def test_an_engine_that_keeps_dying_waits_longer_each_time(run: Run, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    run.apply(service(env=f"STANDIN_FAULT: doomed, STANDIN_GATE: {gate}"))
    async with run.going():
        await run.until(lambda: run.row()["state"] == "Ready")
        gate.unlink()
        await run.until(lambda: run.row()["restarts"] >= 3)
        gate.touch()
        await run.until(lambda: run.row()["state"] == "Ready")
    waits = [line for line in run.said if "starts again in" in line]
    assert len(waits) >= 3


async def test_objects_that_cannot_be_read_leave_the_last_good_ones_running(run: Run) -> None:
    run.apply(service())
    async with run.going():
        await run.until(lambda: run.row()["state"] == "Ready")
        pid = run.row()["pid"]
        run.state.write(run.state.objects / "llmservice-a.yaml", "kind: [")
        await run.until(lambda: any("The objects cannot be read" in line for line in run.said))
        assert run.row()["pid"] == pid
        run.apply(service(replicas=2))
        await run.until(lambda: [row["state"] for row in run.rows()] == ["Ready", "Ready"])
        assert run.row()["pid"] == pid
