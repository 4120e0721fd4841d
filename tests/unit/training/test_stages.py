"""What a stage depends on: it is done again when that has changed, and not else."""

import os
from pathlib import Path
from typing import Any

import pytest

from slipway.objects import FineTune
from slipway.objects.finetunes import Stage
from slipway.training.runs import Outcome, Run
from slipway.training.stages import inputs


def asked(source: Path, **spec: Any) -> FineTune:
    dataset = {"sources": [{"name": "a", "source": source.as_uri()}]}
    wanted = {"baseModel": {"source": "hf://org/name"}, "dataset": dataset, **spec}
    return FineTune.model_validate({"metadata": {"name": "a"}, "spec": wanted})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "with a space"
    folder.mkdir()
    (folder / "one.jsonl").write_text("{}\n")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(tmp_path / "run")
    made.folder.mkdir()
    return made


def test_changed_data_of_the_same_name_is_prepared_again(run: Run, data: Path) -> None:
    before = inputs(run, asked(data), "prepare")
    assert inputs(run, asked(data), "prepare") == before
    file = data / "one.jsonl"
    at = file.stat().st_mtime_ns
    file.write_text("[]\n")
    os.utime(file, ns=(at + 1, at + 1))
    changed = inputs(run, asked(data), "prepare")
    assert changed != before
    (data / "two.jsonl").write_text("{}\n")
    assert inputs(run, asked(data), "prepare") not in (before, changed)


def test_data_that_is_not_there_is_for_the_stage_to_tell(run: Run, data: Path) -> None:
    assert inputs(run, asked(data / "none.jsonl"), "prepare")


@pytest.mark.parametrize(
    ("stage", "again"), [("prepare", False), ("train", False), ("evaluate", True), ("register", False)]
)
def test_a_changed_gate_is_evaluated_anew_and_trains_nothing(
    run: Run, data: Path, stage: Stage, again: bool
) -> None:
    def gate(minimum: str) -> FineTune:
        return asked(data, evaluation={"gates": [{"metric": "exact_match", "min": minimum}]})

    same = inputs(run, gate("0.9"), stage) == inputs(run, gate("0.8"), stage)
    assert same is not again


def test_a_stage_depends_on_what_came_of_those_before_it(run: Run, data: Path) -> None:
    before = inputs(run, asked(data), "train")
    run.end(Outcome(stage="prepare", state="Succeeded", message="", result={"dataset": "a/2"}))
    assert inputs(run, asked(data), "train") != before
    assert inputs(run, asked(data), "prepare") == inputs(run, asked(data), "prepare")
