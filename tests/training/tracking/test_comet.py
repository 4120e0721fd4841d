"""Comet without a network: its own offline archives."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from slipway.training.stages import Context, Done
from training.tracking.runs import begun, do, warnings


def messages(folder: Path) -> list[dict[str, Any]]:
    """All that the archives would upload."""
    found = []
    for path in sorted(folder.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            found += [json.loads(line) for line in archive.read("messages.json").splitlines()]
    return found


def test_a_run_is_an_archive_to_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_TRACKERS", "comet")
    monkeypatch.setenv("COMET_START_ONLINE", "0")
    monkeypatch.setenv("COMET_OFFLINE_DIRECTORY", str(tmp_path / "comet"))
    monkeypatch.setenv("COMET_PROJECT_NAME", "tests")
    monkeypatch.setattr("slipway.training.tracking.recording.PATIENCE_S", 60.0)

    def work(context: Context) -> Done:
        for step in range(5):
            context.run.log(step=step, loss=1 / (step + 1))
        return Done("trained", {"metrics": {"eval_loss": 0.5}, "artifact": "runs/x/artifact"})

    context = begun(tmp_path / "workspace")
    assert do(context, monkeypatch, work).state == "Succeeded"
    assert warnings(context.run) == []
    told = [each["payload"] for each in messages(tmp_path / "comet")]
    metrics = [each["metric"] for each in told if each.get("metric")]
    losses = {each["step"]: each["metricValue"] for each in metrics if each["metricName"] == "loss"}
    assert losses == {step: 1 / (step + 1) for step in range(5)}
    assert [each["metricValue"] for each in metrics if each["metricName"] == "train/eval_loss"] == [0.5]
    text = json.dumps(told)
    assert "hyperparameters.learningRate" in text
    assert "runs/x/artifact" in text
    # Nothing of the machine or the code is sent along.
    assert str(Path.home()) not in text
    assert "def work" not in text
