"""A training that is killed anywhere ends in the same weights, bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.training.data.versions import DatasetVersion
from slipway.training.errors import Stopped
from slipway.training.tuning.jobs import Trained
from training.tuning.attempts import Attempt, weights

SETTINGS = {"epochs": 3, "lora_dropout": "0.2", "earlyStopping": 5, "evaluations": 2}
PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from slipway.training.data.versions import DatasetVersion
from training.tuning.attempts import Attempt
from training.tuning.test_resuming import SETTINGS
{before}
attempt = Attempt(Path({root!r}))
job = attempt.job(Path({base!r}), DatasetVersion.read(Path({data!r})), **SETTINGS)
attempt.train(job, checkpoint_seconds=0.0)
"""
DYING = """
import os
from slipway.training.tuning import checkpoints
from slipway.training.tuning.loop import Loop
real_step, real_sync, steps, syncs = Loop._step, checkpoints._sync, [0], [0]
def step(self):
    steps[0] += 1
    if steps[0] > {step}:
        os.kill(os.getpid(), 9)
    return real_step(self)
def sync(path):
    syncs[0] += 1
    if syncs[0] > {sync}:
        os.kill(os.getpid(), 9)
    return real_sync(path)
Loop._step, checkpoints._sync = step, sync
"""
"""Kills the process, without a word, at a step or while a checkpoint is written."""


def run(attempt: Attempt, base: Path, data: DatasetVersion, before: str = "") -> int:
    program = PROGRAM.format(
        tests=str(Path(__file__).parents[2]),
        root=str(attempt.root),
        base=str(base),
        data=str(data.folder),
        before=before,
    )
    return subprocess.run([sys.executable, "-c", program], timeout=120).returncode


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, llama: Path, sums: DatasetVersion) -> dict[str, bytes]:
    attempt = Attempt(tmp_path_factory.mktemp("unbroken"))
    return weights(attempt.train(attempt.job(llama, sums, **SETTINGS)))


def finished(attempt: Attempt) -> Trained:
    document = json.loads((attempt.root / "runs/sample/train/trained.json").read_text())
    return Trained(attempt.root / "runs/sample/train/artifact", "adapter", document["metrics"])


@pytest.mark.timeout(600)
def test_killed_at_ten_random_moments_the_weights_are_those_of_the_unbroken_run(
    attempt: Attempt, llama: Path, sums: DatasetVersion, unbroken: dict[str, bytes]
) -> None:
    draw = random.Random(6)
    for number in range(10):
        # Each attempt does few steps; some die with a checkpoint half written.
        dying = DYING.format(step=draw.randint(1, 2), sync=draw.randint(2, 9) if number % 2 else 10_000)
        if run(attempt, llama, sums, dying) == 0:
            break
    else:
        assert run(attempt, llama, sums) == 0
    assert number >= 7
    assert weights(finished(attempt)) == unbroken
    steps = [line["step"] for line in attempt.run.metrics() if "loss" in line]
    assert steps == list(range(1, 16))


def test_asked_to_stop_it_keeps_what_it_did_and_goes_on(
    attempt: Attempt, llama: Path, sums: DatasetVersion, unbroken: dict[str, bytes]
) -> None:
    job = attempt.job(llama, sums, **SETTINGS)
    attempt.stopping = lambda: len(attempt.losses()) >= 4
    with pytest.raises(Stopped):
        attempt.train(job)
    assert len(attempt.losses()) == 5
    attempt.stopping = lambda: False
    assert weights(attempt.train(job)) == unbroken
    assert "Training goes on after step 5." in attempt.said()


def test_a_job_that_is_done_is_not_done_again(attempt: Attempt, llama: Path, sums: DatasetVersion) -> None:
    job = attempt.job(llama, sums, epochs=1)
    first = attempt.train(job)
    assert first.artifact is not None
    before = (first.artifact / "adapter_model.safetensors").stat().st_mtime_ns
    assert attempt.train(job) == first
    assert (first.artifact / "adapter_model.safetensors").stat().st_mtime_ns == before


def test_another_job_in_the_same_folder_begins_anew(
    attempt: Attempt, llama: Path, sums: DatasetVersion
) -> None:
    attempt.stopping = lambda: len(attempt.losses()) >= 2
    with pytest.raises(Stopped):
        attempt.train(attempt.job(llama, sums))
    attempt.stopping = lambda: False
    attempt.train(attempt.job(llama, sums, seed=1))
    assert "goes on" not in attempt.said()


def test_sigterm_ends_the_stage_with_75_and_a_checkpoint(
    attempt: Attempt, llama: Path, sums: DatasetVersion
) -> None:
    attempt.run.begin(attempt.context.fine_tune)
    document = json.loads((attempt.run.folder / "finetune.yaml").read_text())
    document["spec"] |= {
        "baseModel": {"source": f"file://{llama}"},
        "hyperparameters": {"epochs": 1000, "precision": "float32", "batchSize": 4, "evaluations": 0},
    }
    (attempt.run.folder / "finetune.yaml").write_text(json.dumps(document))
    place = attempt.root / "datasets" / sums.reference
    place.parent.mkdir(parents=True)
    place.symlink_to(sums.folder)
    (attempt.run.folder / "prepare.json").write_text(
        json.dumps(
            {"stage": "prepare", "state": "Succeeded", "message": "", "result": {"dataset": sums.reference}}
        )
    )
    command = [
        sys.executable,
        "-m",
        "slipway.training",
        "train",
        "--workspace",
        str(attempt.root),
        "--run",
        "sample",
    ]
    child = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        while child.poll() is None and len(attempt.losses()) < 3:
            pass_time()
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 75
    finally:
        child.kill()
        child.wait()
    (checkpoint,) = (attempt.run.folder / "train/checkpoints").iterdir()
    assert json.loads((checkpoint / "state.json").read_text())["step"] == len(attempt.losses())


def pass_time() -> None:
    import time

    time.sleep(0.05)
