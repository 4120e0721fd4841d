"""Which interpreter does the work that needs the training packages."""

import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from slipway.cli import training_python as module
from slipway.cli.training_python import training_python

pytestmark = pytest.mark.skipif(
    all(find_spec(name) is not None for name in module._NEEDED),
    reason="this interpreter has the training packages itself",
)


def environment(folder: Path) -> Path:
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return python


def test_the_variable_comes_first(tmp_path: Path) -> None:
    environment(tmp_path / "training")
    chosen = environment(tmp_path / "mine")
    found = training_python({"SLIPWAY_TRAINING_PYTHON": str(chosen)}, tmp_path / "dev")
    assert found == str(chosen)


def test_a_link_stays_a_link_since_an_environments_interpreter_is_one(tmp_path: Path) -> None:
    chosen = environment(tmp_path / "mine")
    assert training_python({"SLIPWAY_TRAINING_PYTHON": str(chosen)}) != str(chosen.resolve())


def test_an_environment_beside_this_one_is_found(tmp_path: Path) -> None:
    python = environment(tmp_path / "training-tests")
    assert training_python({}, tmp_path / "dev") == str(python)


def test_what_cannot_be_run_is_passed_over(tmp_path: Path) -> None:
    broken = tmp_path / "training" / "bin" / "python"
    broken.parent.mkdir(parents=True)
    broken.write_text("")
    broken.chmod(stat.S_IRUSR)
    python = environment(tmp_path / "training-tests")
    assert training_python({}, tmp_path / "dev") == str(python)


def test_without_any_a_sentence_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="set SLIPWAY_TRAINING_PYTHON to its bin/python"):
        training_python({}, tmp_path / "dev")


def test_a_variable_that_names_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match=r"names .*/gone, which cannot be run"):
        training_python({"SLIPWAY_TRAINING_PYTHON": str(tmp_path / "gone")})


def test_the_childs_exit_code_is_the_commands(tmp_path: Path) -> None:
    program = (
        "import sys; from slipway.cli.training_python import run_in_training;"
        " sys.exit(run_in_training('json.tool', ['--no-such-option']))"
    )
    environ = {"SLIPWAY_TRAINING_PYTHON": str(environment(tmp_path / "training"))}
    done = subprocess.run([sys.executable, "-c", program], env=environ, timeout=30, capture_output=True)
    assert done.returncode == 2
    assert b"json.tool: error: unrecognized arguments" in done.stderr
