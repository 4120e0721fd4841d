"""How a run's files reach a tracker, whatever becomes of it."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from slipway.objects import FineTune
from slipway.training import stages
from slipway.training.runs import Outcome, Run
from slipway.training.stages import Context, Done, run_stage
from slipway.training.tracking import recording
from slipway.training.tracking.following import Follower
from slipway.training.tracking.trackers import Row, Tracker
from slipway.training.workspaces import Workspace


class Memory:
    """Remembers what it is told, and is away when it is told to be."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.away = False

    def _called(self, *call: Any) -> None:
        if self.away:
            raise ConnectionError("away")
        self.calls.append(call)

    def start(self, name: str, key: str, known: str | None, tags: Mapping[str, str]) -> str:
        self._called("start", name, known)
        return "number 7"

    def log_parameters(self, values: Mapping[str, str]) -> None:
        self._called("parameters", dict(values))

    def log_metrics(self, rows: Sequence[Row]) -> None:
        self._called("metrics", [(row.step, dict(row.values)) for row in rows])

    def log_link(self, name: str, address: str) -> None:
        self._called("link", name, address)

    def finish(self, state: str) -> None:
        self._called("finish", state)

    def told(self, kind: str) -> list[Any]:
        return [call[1] for call in self.calls if call[0] == kind]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(Workspace(tmp_path).run("support"))
    run.begin(
        FineTune.model_validate(
            {
                "metadata": {"name": "support"},
                "spec": {
                    "baseModel": {"source": "hf://org/base"},
                    "hyperparameters": {"epochs": 2},
                    "dataset": {"sources": [{"name": "a", "source": "hf://o/d"}]},
                },
            }
        )
    )
    return run


def follower(run: Run, memory: Memory, stage: Any = "train") -> Follower:
    def make() -> Tracker:
        return memory

    return Follower(run, stage, "mlflow", make)


def test_tells_each_line_once_across_processes(run: Run) -> None:
    memory = Memory()
    run.log(step=1, loss=0.5)
    one = follower(run, memory)
    one.send()
    one.send()
    run.log(step=2, loss=0.25)
    follower(run, memory).send()
    assert memory.told("metrics") == [[(1, {"loss": 0.5})], [(2, {"loss": 0.25})]]
    assert memory.told("parameters") == [{"baseModel.source": "hf://org/base", "hyperparameters.epochs": "2"}]
    assert [call for call in memory.calls if call[0] == "start"] == [
        ("start", "support", None),
        ("start", "support", "number 7"),
    ]


def test_leaves_half_a_line_and_what_are_no_numbers(run: Run) -> None:
    memory = Memory()
    run.log(step=1, loss=float("nan"), other=1.0)
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('no json\n{"step": 2, "loss": ')
    one = follower(run, memory)
    one.send()
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write("0.5}\n")
    one.send()
    assert memory.told("metrics") == [[(1, {"other": 1.0})], [(2, {"loss": 0.5})]]


def test_what_was_missed_while_away_is_told_later(run: Run) -> None:
    memory = Memory()
    one = follower(run, memory)
    one.send()
    memory.away = True
    for step in range(5):
        run.log(step=step, loss=1.0)
        with pytest.raises(ConnectionError):
            one.send()
    memory.away = False
    one.send()
    assert [step for rows in memory.told("metrics") for step, _ in rows] == list(range(5))


def test_tells_an_outcome_once_and_ends_with_the_last_stage(run: Run) -> None:
    memory = Memory()
    result = {"metrics": {"loss": 0.1}, "hyperparameters": {"loraRank": 8}, "artifact": "a/b"}
    run.end(Outcome(stage="train", state="Succeeded", message="", inputs="x", result=result))
    follower(run, memory).send(last=True)
    follower(run, memory).send(last=True)
    assert memory.told("metrics") == [[(0, {"train/loss": 0.1})]]
    assert memory.told("link") == ["train.artifact"]
    assert {"train.loraRank": "8"} in memory.told("parameters")
    assert memory.told("finish") == ["running", "running"]
    run.end(Outcome(stage="register", state="Succeeded", message=""))
    follower(run, memory, "register").send(last=True)
    run.end(Outcome(stage="evaluate", state="Failed", message="no"))
    follower(run, memory, "evaluate").send(last=True)
    assert memory.told("finish")[2:] == ["finished", "failed"]


def stage(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    module: Any = ModuleType("tests_work")
    module.work = lambda context: Done("done")
    monkeypatch.setitem(sys.modules, "tests_work", module)
    monkeypatch.setitem(stages.WORK, "train", "tests_work")
    return run_stage(Context(Workspace(tmp_path), run, run.fine_tune(), "train"))


def warnings(run: Run) -> list[str]:
    return [event["message"] for event in run.events() if event["level"] == "warning"]


def test_nothing_is_started_unless_asked_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLIPWAY_TRACKERS", raising=False)
    assert stage(run, tmp_path, monkeypatch).state == "Succeeded"
    assert not (run.folder / "trackers").exists()
    assert warnings(run) == []


def test_a_tracker_that_is_not_there_stops_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_TRACKERS", "mlflow, wandb")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert stage(run, tmp_path, monkeypatch).state == "Succeeded"
    told = warnings(run)
    assert len(told) == 2
    assert "'wandb', which is no tracker" in told[0]
    assert "The tracker mlflow is away" in told[1]
    assert "MLFLOW_TRACKING_URI" in (run.folder / "trackers" / "mlflow.log").read_text()


def test_a_tracker_that_hangs_is_left_behind(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A program that never ends stands for a server that never answers.
    monkeypatch.setattr(recording, "PATIENCE_S", 0.2)
    hanging = tmp_path / "hanging"
    hanging.write_text("#!/bin/sh\nexec sleep 600\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hanging))
    monkeypatch.setenv("SLIPWAY_TRACKERS", "mlflow")
    assert stage(run, tmp_path, monkeypatch).state == "Succeeded"
    assert ["did not take all within 0.2 s" in each for each in warnings(run)] == [True]
