"""The stage `search` with real trainings of a tiny model, as processes; then its result is trained."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slipway.training.runs import Outcome, Run
from slipway.training.search.trials import Board
from slipway.training.tuning.stage import chosen
from training.search.functions import context
from training.tuning import tiny
from training.tuning.datasets import chat, version

PARAMETERS = [
    {"name": "learningRate", "values": ["1e-5", "1e-2"]},
    {"name": "loraTargets", "values": ["q_proj,v_proj"]},
]
QUICK: dict[str, Any] = {"epochs": 2, "batchSize": 8, "precision": "float32", "loraRank": 4, "maxLength": 128}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    base = tiny.llama(tmp_path / "base")
    rows = [chat(f"{at} and {at}", str(2 * at)) for at in range(20)]
    place = tmp_path / "datasets" / "sample" / "0"
    dataset = version(place, {"train": rows[:16], "validation": rows[16:]})
    place.rename(place.with_name(dataset.manifest.version))
    search = {"algorithm": "grid", "pruning": "none", "parallelism": 2, "parameters": PARAMETERS}
    made = context(tmp_path, search, base=base.as_uri(), **QUICK)
    made.run.end(
        Outcome(stage="prepare", state="Succeeded", message="", result={"dataset": dataset.reference})
    )
    return made.run


def begin(run: Run) -> "subprocess.Popen[bytes]":
    root = run.folder.parents[1]
    command = [
        sys.executable,
        "-m",
        "slipway.training",
        "search",
        "--workspace",
        str(root),
        "--run",
        run.name,
    ]
    return subprocess.Popen(command, env=os.environ | {"HF_HUB_OFFLINE": "1"})


def board(run: Run) -> Board:
    found = Board.read(run.folder)
    assert found is not None
    return found


def test_the_learning_rate_that_learns_is_found_and_trained_with(run: Run) -> None:
    child = begin(run)
    # Stopped in the middle: the trials' processes end with it, and go on from what they had.
    while not list(run.folder.glob("trials/*/reports.jsonl")):
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait(30)
    assert begin(run).wait(100) == 0
    outcome = run.outcome("search")
    assert outcome is not None
    assert outcome.state == "Succeeded", outcome.message
    assert [trial.phase for trial in board(run).trials] == ["Succeeded"] * 2
    assert [len(trial.history) for trial in board(run).trials] == [2, 2]
    assert outcome.result["hyperparameters"] == {"learningRate": "1e-2", "loraTargets": ["q_proj", "v_proj"]}
    assert outcome.result["objective"]["metric"] == "eval_loss"
    assert (run.folder / "search" / "report.html").exists()
    fine_tune = run.fine_tune()
    made = context(
        run.folder.parents[1], fine_tune.spec.model_dump(mode="json", by_alias=True)["search"], **QUICK
    )
    taken = chosen(made)
    assert taken.learning_rate.number == 1e-2
    assert taken.lora_targets == ("q_proj", "v_proj")
