"""Starts that cannot succeed: `slipway engine` as a process, in an environment without its libraries."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def start(*args: str) -> tuple[int, list[dict[str, Any]]]:
    command = [sys.executable, "-m", "slipway", "engine", "--name", "tiny", *args]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return ran.returncode, [json.loads(line) for line in ran.stderr.splitlines()]


@pytest.mark.parametrize(
    ("args", "code", "reason", "says"),
    [
        ((), 1, "VLLMMissing", "make envs"),
        (("--device", "gpu"), 2, "WrongArguments", "device: cpu"),
        (("--", "--api-key", "x"), 2, "WrongArguments", "--api-key"),
        (("--runtime", "transformers"), 1, "TransformersMissing", "make envs"),
    ],
)
def test_the_last_line_tells_why(
    tmp_path: Path, args: tuple[str, ...], code: int, reason: str, says: str
) -> None:
    returned, lines = start("--source", f"file://{tmp_path}", *args)
    assert (returned, lines[-1]["event"], lines[-1]["reason"]) == (code, "failed", reason)
    assert says in lines[-1]["message"]
