"""`slipway finetune` as its user meets it: real stages of a tiny model, as processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slipway.training.runs import Run
from training.tuning.datasets import SAMPLES

WAIT = 100.0


@dataclass(slots=True)
class Home:
    """A workspace, and a file with a FineTune."""

    folder: Path
    base: Path

    @property
    def run(self) -> Run:
        return Run(self.folder / "workspace/runs/tickets")

    def write(self, **hyperparameters: Any) -> Path:
        settings = {"epochs": 1, "precision": "float32", "maxLength": 256, "loraRank": 2, **hyperparameters}
        document = {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "FineTune",
            "metadata": {"name": "tickets"},
            "spec": {
                "baseModel": {"source": f"file://{self.base}"},
                "dataset": {
                    "sources": [{"name": "tickets", "source": f"file://{SAMPLES / 'tickets.jsonl'}"}],
                    "split": {"validation": "0.1", "test": "0.2"},
                },
                "hyperparameters": settings,
            },
        }
        path = self.folder / "finetune.yaml"
        path.write_text(json.dumps(document))
        return path

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        environ = os.environ | {"SLIPWAY_WORKSPACE": str(self.folder / "workspace"), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", "slipway", "finetune", *arguments],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def slipway(self, *arguments: str) -> tuple[int, str]:
        """Exit code, and all that was printed."""
        child = self.begin(*arguments)
        output, _ = child.communicate(timeout=WAIT)
        return child.returncode, output

    def until(self, seen: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT
        while not seen():
            assert time.monotonic() < end
            time.sleep(0.1)


@pytest.fixture
def home(tmp_path: Path, llama: Path) -> Home:
    return Home(tmp_path, llama)


@pytest.mark.timeout(300)
def test_data_becomes_an_adapter_and_nothing_is_done_twice(home: Home) -> None:
    file = home.write()
    code, output = home.slipway("run", "-f", str(file), "--until", "train")
    assert code == 0, output
    assert "prepare: " in output
    assert "84 train, 12 validation, 24 test" in output
    assert "Trained 11 steps" in output
    outcome = home.run.outcome("train")
    assert outcome is not None
    artifact = home.folder / "workspace" / outcome.result["artifact"]
    assert (artifact / "adapter_model.safetensors").is_file()
    assert outcome.result["kind"] == "adapter"
    assert {"loss", "eval_loss", "eval_accuracy"} <= set(outcome.result["metrics"])

    before = len(list(home.run.events()))
    assert home.slipway("run", "-f", str(file), "--until", "train") == (0, "")
    assert len(list(home.run.events())) == before

    code, output = home.slipway("show", "tickets")
    assert "train      Succeeded" in output
    assert "loss steps 1 to 11" in output
    assert "tickets   Waiting   2/4" in home.slipway("list")[1]
    assert "train begins." in home.slipway("logs", "tickets")[1]

    # Another learning rate trains anew, and prepares nothing.
    file = home.write(learningRate="1e-3")
    code, output = home.slipway("run", "-f", str(file), "--until", "train")
    assert code == 0, output
    assert "prepare" not in output.replace("prepare: writing", "")
    assert "train begins." in output


@pytest.mark.timeout(300)
def test_ctrl_c_stops_and_a_second_call_goes_on_and_cancel_ends_it(home: Home) -> None:
    file = home.write(epochs=400, evaluations=0)
    child = home.begin("run", "-f", str(file), "--until", "train")
    home.until(lambda: any("loss" in line for line in home.run.metrics()))
    assert "is running already" in home.slipway("run", "-f", str(file))[1]
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=WAIT)
    assert child.returncode == 75, output
    assert "goes on" in output
    reached = max(line["step"] for line in home.run.metrics())

    child = home.begin("run", "-f", str(file), "--until", "train")
    home.until(lambda: max(line["step"] for line in home.run.metrics()) > reached)
    assert f"Training goes on after step {reached}." in [event["message"] for event in home.run.events()]
    code, output = home.slipway("cancel", "tickets")
    assert "what runs stops at its next safe point" in output
    child.communicate(timeout=WAIT)
    assert child.returncode == 75
    assert "tickets   Cancelled" in home.slipway("list")[1]
    code, output = home.slipway("run", "-f", str(file))
    assert code == 1
    assert "was cancelled" in output


def test_a_stage_that_fails_says_why_and_ends_the_run_with_1(home: Home) -> None:
    file = home.write()
    document = json.loads(file.read_text())
    document["spec"]["dataset"]["sources"][0]["source"] = "file:///no/such/file.jsonl"
    file.write_text(json.dumps(document))
    code, output = home.slipway("run", "-f", str(file))
    assert code == 1
    assert "/no/such/file.jsonl" in output
    assert "tickets   Failed" in home.slipway("list")[1]


def test_what_is_not_there_is_named(home: Home) -> None:
    assert "There is no run nothing" in home.slipway("show", "nothing")[1]
    code, output = home.slipway("run", "-f", str(home.folder / "none.yaml"))
    assert code == 1
    assert "there is no such file" in output
