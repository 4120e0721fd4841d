"""Searches whose trials are processes: killed, stopped, failing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from slipway.training.search.processes import found_cores, found_gpus, shares
from slipway.training.search.trials import Board
from training.search.functions import POINTS, context

SCRIPT = Path(__file__).with_name("cheap_search.py")
TESTS = Path(__file__).parents[2]


class CheapSearch:
    """A search with cheap trials in a workspace of its own."""

    def __init__(self, root: Path, **search: Any) -> None:
        self.root = root
        made = context(root, {"parameters": POINTS, "pruning": "none", **search}, epochs=5)
        self.folder = made.run.folder

    def begin(self, **cheap: Any) -> "subprocess.Popen[str]":
        environ = os.environ | {"CHEAP": json.dumps(cheap), "PYTHONPATH": str(TESTS)}
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), str(self.root)],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, **cheap: Any) -> int:
        """Search to the end; the exit code."""
        child = self.begin(**cheap)
        said, _ = child.communicate(timeout=60)
        print(said)
        return child.returncode

    @property
    def board(self) -> Board:
        found = Board.read(self.folder)
        assert found is not None
        return found

    def trials(self) -> list[tuple[object, ...]]:
        """All that two searches that are the same agree on."""
        return [(t.name, t.phase, t.parameters, t.value, t.history, t.metrics) for t in self.board.trials]

    def begun(self, trial: str) -> list[str]:
        """The checkpoint from which each attempt at a trial went on."""
        lines = (self.folder / "trials" / trial / "began").read_text().splitlines()
        return [line.split()[0] for line in lines]


@pytest.mark.parametrize(
    "asked",
    [
        {"algorithm": "grid", "trials": 6},
        {"algorithm": "random", "trials": 4},
        {"algorithm": "bayesian", "trials": 5, "pruning": "hyperband"},
    ],
    ids=lambda asked: str(asked["algorithm"]),
)
def test_a_search_killed_in_the_middle_goes_on_to_what_the_unbroken_one_finds(
    tmp_path: Path, asked: dict[str, Any]
) -> None:
    whole, broken = CheapSearch(tmp_path / "whole", **asked), CheapSearch(tmp_path / "broken", **asked)
    assert whole.run() == 0
    assert broken.run(kill=["trial-002", 1, "search"]) == -signal.SIGKILL
    assert [trial.phase for trial in broken.board.trials][2:] == ["Running"]
    assert broken.run() == 0
    assert broken.trials() == whole.trials()


def test_a_trial_that_was_cut_off_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    search = CheapSearch(tmp_path, algorithm="grid", trials=3)
    assert search.run(kill=["trial-001", 4, "search"]) == -signal.SIGKILL
    assert search.run() == 0
    assert search.begun("trial-001") == ["0", "3"]
    assert search.begun("trial-000") == ["0"]
    assert list(search.board.trials[1].history) == [1, 2, 3, 4, 5]


def test_failed_trials_are_told_apart_and_end_nothing(tmp_path: Path) -> None:
    search = CheapSearch(tmp_path, algorithm="grid", trials=6)
    fail = {"trial-000": "memory", "trial-001": "nan", "trial-002": "crash"}
    assert search.run(fail=fail, kill=["trial-003", 2, "trial"]) == 0
    ended = [(trial.phase, trial.reason) for trial in search.board.trials]
    assert ended[:4] == [
        ("Failed", "OutOfMemory"),
        ("Failed", "NotANumber"),
        ("Failed", "Crashed"),
        ("Failed", "Killed"),
    ]
    assert ended[4:] == [("Succeeded", "")] * 2
    assert "step 12, batch 3" in search.board.trials[1].message
    assert "SIGABRT" in search.board.trials[2].message
    events = [json.loads(line) for line in (search.folder / "events.jsonl").read_text().splitlines()]
    assert sum(event["level"] == "warning" for event in events) == 4


def test_a_search_whose_trials_all_fail_says_why(tmp_path: Path) -> None:
    search = CheapSearch(tmp_path, algorithm="grid", trials=2)
    child = search.begin(fail={"trial-000": "nan", "trial-001": "nan"})
    said, _ = child.communicate(timeout=60)
    assert child.returncode == 1
    assert "No trial succeeded. trial-000: The loss is no number at step 12, batch 3." in said


def test_a_search_that_is_asked_to_stop_stops_its_trials_and_goes_on_later(tmp_path: Path) -> None:
    search = CheapSearch(tmp_path, algorithm="grid", trials=4, parallelism=2)
    child = search.begin(kill=["trial-002", 3, "nobody"])  # It waits for a signal; its neighbours end.
    while not (search.folder / "killed").exists():
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.05)
    child.terminate()
    child.communicate(timeout=60)
    assert child.returncode == 75
    assert search.run() == 0
    assert [trial.phase for trial in search.board.trials] == ["Succeeded"] * 4
    assert search.begun("trial-002") == ["0", "2"]


def test_the_result_the_progress_and_the_report_are_there(tmp_path: Path) -> None:
    search = CheapSearch(tmp_path, algorithm="grid", trials=6, parallelism=2)
    assert search.run() == 0
    progress = json.loads((search.folder / "progress.json").read_text())
    assert (progress["step"], progress["total_steps"]) == (30, 30)
    assert "6 of 6 trials, best eval_loss" in progress["message"]
    report = (search.folder / "search" / "report.html").read_text()
    for heading in ("Trials", "History", "Evaluations", "Parallel coordinates", "Importance"):
        assert f"<h2>{heading}</h2>" in report
    assert report.count("<svg") == 4
    assert "Libraries print" in (search.folder / "trials" / "trial-000" / "log.txt").read_text()
    assert not list(search.folder.glob("trials/*/train"))


def test_a_search_for_something_else_begins_anew(tmp_path: Path) -> None:
    search = CheapSearch(tmp_path, algorithm="grid", trials=1)
    assert search.run() == 0
    (search.folder / "search" / "name").write_text("another")
    assert search.run() == 0
    assert search.begun("trial-000") == ["0"]
    assert "begins anew" in (search.folder / "events.jsonl").read_text()


@pytest.mark.parametrize(
    ("parallelism", "cores", "gpus", "threads", "devices"),
    [
        (1, 2, [], ["2"], [None]),
        (2, 2, [], ["1", "1"], [None, None]),
        (3, 8, [], ["3", "3", "2"], [None] * 3),
        (4, 2, [], ["1"] * 4, [None] * 4),
        (1, 8, ["0", "1"], ["8"], [None]),
        (2, 8, ["0", "1", "2"], ["4", "4"], ["0,2", "1"]),
        (3, 6, ["4", "5"], ["2", "2", "2"], ["4", "5", "4"]),
    ],
)
def test_cores_and_gpus_are_shared_fairly(
    parallelism: int, cores: int, gpus: Sequence[str], threads: list[str], devices: list[str | None]
) -> None:
    made = shares(parallelism, cores, gpus)
    assert [share["OMP_NUM_THREADS"] for share in made] == threads
    assert [share.get("CUDA_VISIBLE_DEVICES") for share in made] == devices


def test_a_containers_limit_of_cores_is_kept(tmp_path: Path) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text("100000 100000\n")
    assert found_cores(limit) == 1
    limit.write_text("max 100000\n")
    assert found_cores(limit) == len(os.sched_getaffinity(0)) == found_cores(tmp_path / "none")


def test_gpus_are_those_that_may_be_seen(tmp_path: Path) -> None:
    assert found_gpus({"CUDA_VISIBLE_DEVICES": "3,GPU-5"}, tmp_path) == ["3", "GPU-5"]
    assert found_gpus({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == []
    (tmp_path / "0000:01:00.0").mkdir()
    assert found_gpus({}, tmp_path) == ["0"]
    assert found_gpus({}, tmp_path / "none") == []
