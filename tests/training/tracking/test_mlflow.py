"""Against MLflow's real server."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from slipway.training.errors import TuningError
from slipway.training.runs import Run
from slipway.training.stages import Context, Done
from training.tracking.runs import begun, do, warnings

pytestmark = pytest.mark.timeout(300)  # The server alone takes most of a minute where others are busy.


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`mlflow server` on loopback, that can be stopped and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--workers", "1"]
        artifacts = ["--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *store, *artifacts],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        while self._process.poll() is None:
            try:
                with urlopen(f"{self.url}/health", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (URLError, OSError):
                time.sleep(0.2)
        raise AssertionError((self.folder / "log").read_text()[-3000:])

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, 15)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "tests")
    monkeypatch.setenv("SLIPWAY_TRACKERS", "mlflow")
    monkeypatch.setattr("slipway.training.tracking.recording.PATIENCE_S", 60.0)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=server.url)


def told(client: Any, run: Run) -> Any:
    """What the server knows of a run; there is one of it."""
    experiment = client.get_experiment_by_name("tests")
    found = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{run.name}'")
    assert len(found) == 1
    return found[0]


def losses(client: Any, run: Run) -> list[tuple[int, float]]:
    history = client.get_metric_history(told(client, run).info.run_id, "loss")
    return sorted((each.step, each.value) for each in history)


def train(steps: range) -> Any:
    def work(context: Context) -> Done:
        for step in steps:
            context.run.log(step=step, loss=1 / (step + 1), learning_rate=1e-4)
        return Done(
            "trained", {"metrics": {"eval_loss": 0.5, "odd": float("nan")}, "artifact": "runs/x/artifact"}
        )

    return work


def test_a_run_is_told_whole(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = begun(tmp_path, "whole")
    assert do(context, monkeypatch, train(range(3000))).state == "Succeeded"
    found = told(client, context.run)
    assert found.data.params["method"] == "dora"
    assert found.data.params["hyperparameters.learningRate"] == "1e-4"
    assert found.data.params["baseModel.source"] == "hf://org/base"
    assert found.data.metrics["train/eval_loss"] == 0.5
    assert found.data.tags["slipway.train.artifact"] == "runs/x/artifact"
    assert found.info.status == "RUNNING"
    assert losses(client, context.run) == [(step, 1 / (step + 1)) for step in range(3000)]
    assert warnings(context.run) == []
    # Later stages go on with the same run, and the last one ends it.
    for stage in ("evaluate", "register"):
        context = Context(context.workspace, context.run, context.fine_tune, stage)
        do(context, monkeypatch, lambda context: Done("done", {"metrics": {"exact_match": 0.9}}))
    found = told(client, context.run)
    assert found.info.status == "FINISHED"
    assert found.data.metrics["evaluate/exact_match"] == 0.9
    assert len(losses(client, context.run)) == 3000


def test_a_failed_stage_fails_the_run(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(context: Context) -> Done:
        raise TuningError("no memory")

    context = begun(tmp_path, "failed")
    assert do(context, monkeypatch, work).state == "Failed"
    assert told(client, context.run).info.status == "FAILED"


def test_what_a_tracker_that_was_away_missed_goes_out_later(
    server: Server, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = begun(tmp_path, "away")
    server.stop()
    try:
        assert do(context, monkeypatch, train(range(10))).state == "Succeeded"
    finally:
        server.start()
    assert [
        "mlflow" in each and "goes out with the next stage" in each for each in warnings(context.run)
    ] == [True]
    context = Context(context.workspace, context.run, context.fine_tune, "evaluate")
    do(context, monkeypatch, lambda context: Done("done"))
    assert [step for step, _ in losses(client, context.run)] == list(range(10))
    assert len(warnings(context.run)) == 1
