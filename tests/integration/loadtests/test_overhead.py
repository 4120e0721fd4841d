"""The speed benchmark works and counts right. How fast anything is, is not asked here."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", autouse=True)
def compiler() -> None:
    """The benchmark's upstream is written in C."""
    if not (shutil.which("cc") or shutil.which("gcc")):
        pytest.fail("No C compiler: install one (make test-packages).")


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "loadtests.gateway_overhead", "--quick", "--python", sys.executable]
    return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_answer_and_every_event_is_counted(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = run("--only", "upstream", "--only", "slipway", "--json", str(report))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(report.read_text())
    assert set(found["targets"]) == {"upstream", "slipway"}
    for target in found["targets"].values():
        assert target["failure"] == ""
        for loads in target["requests"].values():
            assert [load["lost"] for load in loads] == [0]
            assert all(load["answered"] == load["begun"] > 0 for load in loads)
        for number, (load,) in target["streams"].items():
            assert load["lost"] == 0
            assert load["events"] == 10 * int(number)
            assert load["peak_streams"] == int(number)
    gateway = found["targets"]["slipway"]["streams"]["8"][0]
    assert gateway["cpu"] > 0
    assert gateway["pss"] > 0
    assert "requests/s" in done.stdout


def test_a_target_that_cannot_run_is_reported(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    missing = tmp_path / "python"
    done = run("--only", "slipway", "--python", str(missing), "--json", str(report))
    assert done.returncode == 0, done.stderr
    assert str(missing) in json.loads(report.read_text())["targets"]["slipway"]["failure"]
    assert "cannot run" in done.stdout
