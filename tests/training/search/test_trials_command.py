"""`slipway finetune trials` prints what a search has come to."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from slipway.cli.finetune_trials import command
from slipway.training.search.trials import Board, Trial
from training.search.functions import POINTS, context


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    run = context(tmp_path, {"parameters": POINTS}).run.folder
    (run / "search").mkdir()
    trials = [
        Trial(
            number=0,
            phase="Failed",
            parameters={"loraRank": "4"},
            reason="Killed",
            message="Short of memory.",
        ),
        Trial(number=1, phase="Succeeded", parameters={"loraRank": "8"}, value=0.5, history={1: 0.7, 2: 0.5}),
        Trial(number=2, phase="Succeeded", parameters={"loraRank": "16"}, value=0.25, history={1: 0.25}),
        Trial(number=3, phase="Stopped", parameters={"loraRank": "32"}, value=0.1, history={1: 0.1}),
    ]
    Board(metric="eval_loss", goal="minimize", trials=trials).write(run)
    return tmp_path


def test_the_best_trial_comes_first_and_failures_last(workspace: Path) -> None:
    said = CliRunner().invoke(command, ["tuned", "--workspace", str(workspace)])
    assert said.exit_code == 0, said.output
    lines = said.output.splitlines()
    assert lines[0].split() == [
        "TRIAL", "PHASE", "loraRank", "eval_loss", "EVALUATIONS", "SECONDS", "REMARK"
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[1:]] == ["trial-002", "trial-001", "trial-003", "trial-000"]
    assert lines[1].split()[-1] == "best"
    assert "Short of memory." in lines[4]


def test_json_holds_all_that_is_known(workspace: Path) -> None:
    said = CliRunner().invoke(command, ["tuned", "--workspace", str(workspace), "-o", "json"])
    first = json.loads(said.output)[0]
    assert first["name"] == "trial-002"
    assert first["history"] == {"1": 0.25}


def test_a_run_without_a_search_is_told_so(tmp_path: Path) -> None:
    context(tmp_path, {"parameters": POINTS})
    searched = CliRunner().invoke(command, ["tuned", "--workspace", str(tmp_path)])
    assert (searched.exit_code, "has not searched" in searched.output) == (1, True)
    missing = CliRunner().invoke(command, ["other", "--workspace", str(tmp_path)])
    assert (missing.exit_code, "There is no run `other`" in missing.output) == (1, True)
