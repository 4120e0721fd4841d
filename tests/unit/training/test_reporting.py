"""A stage tells how far it is over HTTP, and at its end what came of it in the 4 KiB that a cluster keeps."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from slipway.training.reporting import MOST, message_of, redo, serve_progress, write_outcome
from slipway.training.runs import Outcome, Progress, Run


def outcome(message: str = "Done.", **result: Any) -> Outcome:
    return Outcome(stage="train", state="Succeeded", message=message, inputs="i" * 64, result=result)


def test_a_small_outcome_is_told_whole(tmp_path: Path) -> None:
    said = outcome(artifact="runs/x/train/artifact", metrics={"loss": 0.5})
    write_outcome(said, tmp_path / "log")
    assert Outcome.model_validate_json((tmp_path / "log").read_bytes()) == said


@pytest.mark.parametrize(
    "said",
    [
        outcome("é" * 9000),
        outcome(intervals={f"m{n}": [0.1, 0.2] for n in range(900)}, metrics={"accuracy": 0.9}),
        outcome(trials=[{"name": f"t{n}", "parameters": {"learningRate": "1e-4"}} for n in range(900)]),
        outcome(**{f"unknown{n}": "x" * 700 for n in range(30)}),
    ],
    ids=["message", "intervals", "trials", "anything"],
)
def test_a_large_one_fits_and_says_what_counts(said: Outcome) -> None:
    text = message_of(said)
    assert len(text.encode()) <= MOST
    read = json.loads(text)
    assert read["state"] == "Succeeded"
    assert read["message"]
    if "metrics" in said.result:
        assert read["result"]["metrics"] == {"accuracy": 0.9}
    if "trials" in said.result:
        assert read["result"]["trials"][0]["name"] == "t0"


def test_progress_is_served_once_there_is_some(tmp_path: Path) -> None:
    run = Run(tmp_path)
    server = serve_progress(run, 0, "127.0.0.1")
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}/progress")
        assert refused.value.code == 404
        refused.value.close()
        run.tell(Progress(stage="train", step=3, total_steps=9, message="Trains."))
        with urllib.request.urlopen(f"{url}/progress") as answer:
            assert json.load(answer)["step"] == 3
        with urllib.request.urlopen(f"{url}/livez") as answer:
            assert answer.status == 200
    finally:
        server.shutdown()
        server.server_close()


def test_a_stage_is_done_again_once_for_each_wish(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    redo(run, "train", "train@1")
    run.end(outcome())
    redo(run, "train", "train@1")
    assert run.outcome("train") is not None
    redo(run, "train", "train@2")
    assert run.outcome("train") is None


def test_a_pod_begins_its_run_with_the_file_that_it_is_given(tmp_path: Path) -> None:
    document = {
        "apiVersion": "slipway.dev/v1alpha1", "kind": "FineTune", "metadata": {"name": "x"},
        "spec": {
            "baseModel": {"source": "file:///nowhere"},
            "dataset": {"sources": [{"name": "s", "source": "file:///nowhere"}]},
        },
    }  # fmt: skip
    (tmp_path / "finetune.yaml").write_text(json.dumps(document))
    log = tmp_path / "log"
    arguments = [
        "train", "--workspace", str(tmp_path / "w"), "--run", "x",
        "--fine-tune", str(tmp_path / "finetune.yaml"), "--termination-log", str(log),
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "slipway.training", *arguments], capture_output=True, timeout=60)
    assert Run(tmp_path / "w/runs/x").fine_tune().metadata.name == "x"
