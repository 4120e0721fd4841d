"""`slipway data` as a person calls it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.objects.datasets import DatasetSpec
from training.data.preparing import lines, prepared, sentence


def slipway(*arguments: object, workspace: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "slipway", "data", *map(str, arguments)]
    environment = os.environ | {
        "SLIPWAY_WORKSPACE": str(workspace),
        "SLIPWAY_TRAINING_PYTHON": sys.executable,
    }
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What a dataset is made from: a file that asks for it."""
    rows: list[Any] = [
        {"prompt": f"Say {sentence(n)}", "completion": f"{sentence(n + 999)} jo{n}@example.com"}
        for n in range(60)
    ]
    lines(tmp_path / "rows.jsonl", [*rows, {"wrong": 1}])
    steps = [{"name": "redact-pii"}, {"name": "deduplicate"}]
    source = {"name": "mine", "source": (tmp_path / "rows.jsonl").as_uri()}
    document = {"format": "chat", "sources": [source], "preparation": steps}
    path = tmp_path / "talk.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_dataset_from_its_sources_to_openais_files(tmp_path: Path, file: Path) -> None:
    work = tmp_path / "work"
    assert "No datasets" in slipway("list", workspace=work).stdout
    made = slipway("prepare", "-f", file, workspace=work)
    assert made.returncode == 0, made.stderr
    assert "48 train, 6 validation, 6 test; 1 dropped" in made.stdout
    (listed,) = json.loads(slipway("list", "-o", "json", workspace=work).stdout)
    reference = f"talk/{listed['version']}"
    assert reference in slipway("list", workspace=work).stdout
    shown = slipway("show", "talk", workspace=work).stdout
    assert "missing-field: mine, rows.jsonl:61: It has no `messages`" in shown
    assert "personal data: EMAIL_ADDRESS   60" in shown
    assert "as it was written" in slipway("verify", reference, workspace=work).stdout
    exported = slipway("export", "talk", "--to", tmp_path / "out", workspace=work)
    assert exported.returncode == 0, exported.stderr
    rows = [json.loads(line) for line in (tmp_path / "out" / "test.jsonl").read_text().splitlines()]
    assert len(rows) == 6
    assert all([turn["role"] for turn in row["messages"]] == ["user", "assistant"] for row in rows)
    assert slipway("export", "talk", "--to", tmp_path / "out", workspace=work).returncode == 1
    assert (work / "datasets" / reference / "report.html").read_text().startswith("<!")


def test_versions_are_compared_and_damage_is_found(tmp_path: Path, file: Path) -> None:
    work = tmp_path / "work"
    slipway("prepare", "-f", file, workspace=work)
    document = yaml.safe_load(file.read_text()) | {"split": {"seed": 1}}
    file.write_text(yaml.safe_dump(document))
    slipway("prepare", "-f", file, workspace=work)
    old, new = (
        f"talk/{each['version']}" for each in json.loads(slipway("list", "-o", "json", workspace=work).stdout)
    )
    compared = slipway("diff", old, new, workspace=work).stdout
    assert "split, seed" in compared
    assert "step 1" not in compared
    (work / "datasets" / new / "test-00000.parquet").write_bytes(b"x")
    verified = slipway("verify", new, workspace=work)
    assert verified.returncode == 1
    assert "test-00000.parquet has 1 bytes" in verified.stderr


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("[]", "holds no FineTune and no dataset"),
        ("format: chat", "sources: Field required"),
        ("format: chat\nsources: [{name: a, source: 'file:///nowhere'}]", "/nowhere does not exist"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, document: str, says: str) -> None:
    (tmp_path / "a.yaml").write_text(document)
    ran = slipway("prepare", "-f", tmp_path / "a.yaml", workspace=tmp_path / "work")
    assert ran.returncode == 1
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr


def test_ctrl_c_stops_it_and_the_same_command_goes_on(tmp_path: Path, file: Path) -> None:
    rows = [
        {"prompt": f"Say {n}", "completion": " ".join(f"w{n * 7919 % 99991 + at}" for at in range(70))}
        for n in range(9_000)
    ]
    lines(tmp_path / "rows.jsonl", rows)
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "slipway.training.data",
        "--workspace",
        str(tmp_path / "work"),
    ]
    with subprocess.Popen(
        [*command, "prepare", "--file", str(file)], stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if line.startswith("cleaning records"):
                child.send_signal(signal.SIGINT)
                break
        rest = child.stderr.read()
        assert child.wait() == 75
    assert "Stopped. The same command goes on" in rest
    kept = list((tmp_path / "work" / "tmp").glob("prepare-*/0*.json"))
    assert kept
    wanted = DatasetSpec.model_validate(yaml.safe_load(file.read_text()))
    assert prepared(tmp_path / "work", wanted).manifest.sources[0].read == len(rows)
    assert list((tmp_path / "work" / "tmp").iterdir()) == []
