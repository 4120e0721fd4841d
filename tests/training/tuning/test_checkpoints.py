"""Checkpoints are whole or not there."""

from pathlib import Path

import torch

from slipway.training.tuning import checkpoints


def save(folder: Path, step: int) -> Path:
    return checkpoints.save(folder, step, {"weights": torch.full((4,), float(step))}, {"seen": step})


def test_the_newest_is_read(tmp_path: Path) -> None:
    save(tmp_path, 3)
    save(tmp_path, 12)
    found, broken = checkpoints.newest(tmp_path)
    assert found is not None
    assert (found.step, found.state["seen"], broken) == (12, 12, [])
    assert found.tensors["weights"].tolist() == [12.0] * 4


def test_one_whose_bytes_changed_is_passed_over_and_told(tmp_path: Path) -> None:
    save(tmp_path, 3)
    path = save(tmp_path, 12) / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    found, broken = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.step == 3
    assert "step-00000012 is broken (its digest is" in broken[0]


def test_one_that_was_never_finished_does_not_count(tmp_path: Path) -> None:
    save(tmp_path, 3).rename(tmp_path / ".step-00000003.unfinished")
    assert checkpoints.newest(tmp_path) == (None, [])
    checkpoints.prune(tmp_path, 2)
    assert list(tmp_path.iterdir()) == []


def test_the_newest_few_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        save(tmp_path, step)
    checkpoints.prune(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000004"]
