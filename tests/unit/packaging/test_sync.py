"""What a person sees while an environment is made, with a stand-in for uv that says what uv says."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "scripts" / "sync-environment"
SAYS = """\
Resolved 3 packages in 191ms
Downloading numpy (16.1MiB)
Downloading torch (1.0GiB)
 Downloaded numpy
Prepared 3 packages in 328ms
Installed 3 packages in 15ms
Bytecode compiled 1477 files in 1.80s
 + numpy==2.4.6
"""


def sync(folder: Path, *, says: str, code: int) -> "subprocess.CompletedProcess[str]":
    uv = folder / "uv"
    uv.write_text(f"#!{sys.executable}\nimport sys\nsys.stderr.write({says!r})\nsys.exit({code})\n")
    uv.chmod(0o755)
    command = [sys.executable, str(SCRIPT), str(uv), str(folder), "lock.txt"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_the_stages_are_shown_and_not_each_package(tmp_path: Path) -> None:
    ran = sync(tmp_path, says=SAYS, code=0)
    assert ran.returncode == 0
    assert ran.stdout.splitlines() == ["  putting the packages in place", "  compiling bytecode"]
    assert ran.stderr == ""


def test_a_failure_shows_all_that_uv_said(tmp_path: Path) -> None:
    ran = sync(tmp_path, says="error: no such version\n", code=2)
    assert ran.returncode == 2
    assert ran.stderr == "error: no such version\n"


def test_the_eta_follows_from_what_is_here(tmp_path: Path) -> None:
    program = SCRIPT.read_text().replace('if __name__ == "__main__":', "if False:")
    scope: dict[str, object] = {}
    exec(compile(program, str(SCRIPT), "exec"), scope)
    downloading = scope["downloading"]
    assert callable(downloading)
    assert downloading({"a": 10.0, "b": 30.0}, {"a"}, 5.0) == "downloaded 10 of 40 MiB, ETA 15 s"
    assert downloading({"b": 30.0}, set(), 5.0) == "downloaded 0 of 30 MiB"
