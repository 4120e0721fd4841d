"""The queue of FineTunes: processes that stand in for training, told what to do by files."""

import asyncio
import fcntl
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from slipway.local.fine_tune_queue import TRIES, FineTuneQueue
from slipway.local.folders import StateFolder
from slipway.training.workspaces import Workspace

STAND_IN = """
import json, os, signal, sys, time
from pathlib import Path
name = Path(sys.argv[1]).stem.removeprefix("finetune-")
run = Path(os.environ["SLIPWAY_WORKSPACE"]) / "runs" / name
run.mkdir(parents=True, exist_ok=True)
with (run / "pids").open("a") as file:
    file.write(f"{os.getpid()}\\n")
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(75))
for stage in ("prepare", "train", "evaluate", "register", "deploy"):
    if (run / f"{stage}.json").exists():
        continue
    (run / "new").write_text(json.dumps({"stage": stage, "step": 1, "total_steps": 2, "eta_seconds": 5}))
    (run / "new").replace(run / "progress.json")
    while not (run / f"go-{stage}").exists():
        time.sleep(0.01)
    said = (run / f"go-{stage}").read_text()
    if said == "crash":
        sys.exit(9)
    state = "Failed" if said == "fail" else "Succeeded"
    outcome = {"stage": stage, "state": state, "message": said, "result": {"tokens": 7}, "seconds": 1}
    outcome["reason"] = "GateFailed" if said == "fail" else ""
    (run / "new").write_text(json.dumps(outcome))
    (run / "new").replace(run / f"{stage}.json")
    if said == "fail":
        sys.exit(1)
"""
STAGES = ("prepare", "train", "evaluate", "register", "deploy")


class Place:
    """A state folder, a workspace, and what the stand-ins are told."""

    def __init__(self, folder: Path) -> None:
        self.state = StateFolder(folder / "state")
        self.state.create()
        self.workspace = Workspace(folder / "workspace")
        self.script = folder / "training.py"
        self.script.write_text(STAND_IN)
        self.said: list[str] = []

    def queue(self) -> FineTuneQueue:
        return FineTuneQueue(
            self.state,
            self.workspace,
            self.said.append,
            command=lambda file: [sys.executable, str(self.script), str(file)],
            tick=0.02,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.queue().run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def apply(self, name: str, created: str = "2026-01-01T00:00:00Z", **spec: Any) -> None:
        document = {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "FineTune",
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {
                "baseModel": {"source": "hf://org/model"},
                "dataset": {"sources": [{"name": "training", "source": "file:///tmp/x.jsonl"}]},
                "deploy": {"service": "m"},
                **spec,
            },
        }
        self.state.write(self.state.objects / f"finetune-{name}.yaml", json.dumps(document))

    def tell(self, name: str, *stages: str, say: str = "go") -> None:
        run = self.workspace.run(name)
        run.mkdir(parents=True, exist_ok=True)
        for stage in stages:
            (run / f"go-{stage}.new").write_text(say)
            (run / f"go-{stage}.new").replace(run / f"go-{stage}")

    def status(self, name: str) -> dict[str, Any]:
        found = self.state.read_json(self.state.root / "finetunes" / name / "status.json")
        status: dict[str, Any] = found.get("status", {})
        return status

    def pids(self, name: str) -> list[int]:
        path = self.workspace.run(name) / "pids"
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def until(condition: Callable[[], Any]) -> None:
    while not condition():  # noqa: ASYNC110 - files are looked at
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_they_are_carried_out_one_at_a_time_the_oldest_first(place: Place) -> None:
    place.apply("newer", "2026-01-02T00:00:00Z")
    place.apply("older", "2026-01-01T00:00:00Z")
    async with place.running():
        await until(lambda: place.status("older").get("phase") == "Preparing" and place.pids("older"))
        assert place.status("newer")["phase"] == "Pending"
        assert not place.pids("newer")
        place.tell("older", "prepare")
        await until(lambda: place.status("older")["phase"] == "Training")
        await until(lambda: place.status("older").get("progress"))
        assert place.status("older")["progress"]["etaSeconds"] == 5
        assert [each["state"] for each in place.status("older")["stages"]][:3] == [
            "Succeeded",
            "Running",
            "Waiting",
        ]
        place.tell("older", *STAGES)
        await until(lambda: place.status("older")["phase"] == "Succeeded")
        assert place.status("older")["metrics"]["tokens"] == "7"
        assert place.status("older")["completedAt"]
        place.tell("newer", *STAGES)
        await until(lambda: place.status("newer")["phase"] == "Succeeded")


async def test_one_that_is_suspended_stops_and_goes_on_where_it_was(place: Place) -> None:
    place.apply("a")
    place.tell("a", "prepare")
    async with place.running():
        await until(lambda: place.status("a").get("phase") == "Training")
        place.apply("a", suspend=True)
        await until(lambda: place.status("a")["phase"] == "Suspended")
        assert not alive(place.pids("a")[-1])
        place.apply("a")
        await until(lambda: place.status("a")["phase"] == "Training")
        place.tell("a", *STAGES)
        await until(lambda: place.status("a")["phase"] == "Succeeded")
    assert len(place.pids("a")) == 2


async def test_one_that_is_cancelled_ends_for_good_and_lets_the_next_begin(place: Place) -> None:
    place.apply("a")
    place.apply("b", "2026-01-02T00:00:00Z")
    async with place.running():
        await until(lambda: place.pids("a"))
        place.apply("a", cancel=True)
        await until(lambda: place.status("a")["phase"] == "Cancelled")
        await until(lambda: place.pids("b"))
        place.apply("a")  # Thinking better of it comes too late.
        place.tell("b", *STAGES)
        await until(lambda: place.status("b")["phase"] == "Succeeded")
        assert place.status("a")["phase"] == "Cancelled"
    assert len(place.pids("a")) == 1


async def test_a_failed_one_says_why_and_is_not_begun_again(place: Place) -> None:
    place.apply("a")
    place.apply("b", "2026-01-02T00:00:00Z")
    place.tell("a", "prepare", "train")
    place.tell("a", "evaluate", say="fail")
    async with place.running():
        await until(lambda: place.status("a").get("phase") == "Failed")
        stage = place.status("a")["stages"][2]
        assert (stage["state"], stage["reason"], stage["message"]) == ("Failed", "GateFailed", "fail")
        await until(lambda: place.pids("b"))
    assert len(place.pids("a")) == 1


async def test_a_process_that_says_nothing_is_begun_again_a_few_times(place: Place) -> None:
    place.apply("a")
    place.tell("a", "prepare", say="crash")
    queue = place.queue()
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0  # Each look takes a second.
        return now

    queue.clock = clock
    task = asyncio.create_task(queue.run())
    await until(lambda: place.status("a").get("phase") == "Failed")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(place.pids("a")) == TRIES
    stage = place.status("a")["stages"][0]
    assert stage["reason"] == "Crashed"
    assert f"{TRIES} times" in stage["message"]


async def test_the_next_queue_goes_on_and_leaves_no_process_behind(place: Place) -> None:
    place.apply("a")
    place.tell("a", "prepare")
    async with place.running():
        await until(lambda: place.status("a").get("phase") == "Training")
    assert not alive(place.pids("a")[-1])
    place.tell("a", *STAGES)
    async with place.running():
        await until(lambda: place.status("a").get("phase") == "Succeeded")
    assert len(place.pids("a")) == 2


async def test_of_two_queues_over_one_folder_the_second_waits(place: Place) -> None:
    place.apply("a")
    async with place.running():
        await until(lambda: place.pids("a"))
        async with place.running():
            await asyncio.sleep(0.2)
            assert len(place.pids("a")) == 1


async def test_what_cannot_be_read_is_said_once_and_holds_up_nothing(place: Place) -> None:
    (place.state.objects / "finetune-broken.yaml").write_text("{")
    place.apply("a")
    place.tell("a", *STAGES)
    async with place.running():
        await until(lambda: place.status("a").get("phase") == "Succeeded")
    assert len([line for line in place.said if "broken" in line]) == 1


async def test_a_run_that_others_work_on_is_waited_for(place: Place) -> None:
    """A stage's process whose runner was killed, or a command in another terminal."""
    place.apply("a")
    run = place.workspace.run("a")
    run.mkdir(parents=True)
    with (run / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with place.running():
            await until(lambda: place.status("a").get("phase") == "Preparing")
            assert not place.pids("a")
            fcntl.flock(lock, fcntl.LOCK_UN)
            await until(lambda: place.pids("a"))
