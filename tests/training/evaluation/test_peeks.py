"""How often a test part was looked at."""

from pathlib import Path

from slipway.training.evaluation import peeks


def test_each_evaluation_looks_once_however_often_it_goes_on(tmp_path: Path) -> None:
    assert peeks.look(tmp_path, "runs/a", "one") == 1
    assert peeks.look(tmp_path, "runs/a", "one") == 1
    assert peeks.look(tmp_path, "runs/b", "two") == 2
    assert [each["by"] for each in peeks.looks(tmp_path)] == ["runs/a", "runs/b"]
