"""What `pip install slipway` puts on a machine: the wheel is built once, offline, and looked into."""

import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from email import message_from_string
from email.message import Message
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (path,) = folder.iterdir()
    assert path.name == f"slipway-{PROJECT['version']}-py3-none-any.whl"
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def names(wheel: zipfile.ZipFile) -> set[str]:
    return set(wheel.namelist())


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    name = f"slipway-{PROJECT['version']}.dist-info/METADATA"
    return message_from_string(wheel.read(name).decode())


def sources(folder: str) -> set[str]:
    """The files below `folder`, without what running them left there."""
    found = (
        path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    return {path.relative_to(ROOT).as_posix() for path in found}


def test_the_metadata_says_what_it_is(metadata: Message) -> None:
    assert metadata["Name"] == "slipway"
    assert metadata["Version"] == PROJECT["version"]
    assert metadata["Summary"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Requires-Python"] == "<3.14,>=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["Keywords"]
    classifiers = metadata.get_all("Classifier", [])
    assert "Typing :: Typed" in classifiers
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= set(classifiers)


def test_the_version_is_that_of_the_package(metadata: Message) -> None:
    import slipway

    assert metadata["Version"] == slipway.__version__


def test_every_extra_can_be_asked_for(metadata: Message) -> None:
    assert set(metadata.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])


def test_the_licence_comes_along(wheel: zipfile.ZipFile) -> None:
    name = f"slipway-{PROJECT['version']}.dist-info/licenses/LICENSE"
    assert wheel.read(name) == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("package", ["slipway", "slipway_operator"])
def test_both_packages_are_marked_as_typed(names: set[str], package: str) -> None:
    assert {f"{package}/__init__.py", f"{package}/py.typed"} <= names


def test_the_console_is_whole(names: set[str]) -> None:
    console = "slipway/gateway/console/"
    held = {name.removeprefix(console) for name in names if name.startswith(console)}
    assert "index.html" in held
    assert any(name.startswith("js/") and name.endswith(".js") for name in held)
    assert any(name.startswith("css/") and name.endswith(".css") for name in held)
    vendored = {
        PurePosixPath(name).stem for name in held if name.startswith("vendor/") and name.endswith(".js")
    }
    licences = {name.removeprefix("vendor/") for name in held if name.endswith(".LICENSE")}
    assert vendored
    assert licences == {f"{name}.LICENSE" for name in vendored}
    source = "service/" + console
    assert held == {name.removeprefix(source) for name in sources(source)}


def test_chat_templates_come_along(names: set[str]) -> None:
    templates = {name.removeprefix("service/") for name in sources("service/slipway/engine/templates")}
    assert any(name.endswith(".jinja") for name in templates)
    assert templates <= names


def test_no_source_is_left_out(names: set[str]) -> None:
    expected = {name.removeprefix("service/") for name in sources("service/slipway")}
    expected |= {name.removeprefix("operator/") for name in sources("operator/slipway_operator")}
    assert expected - names == set()


def test_commands_and_plugins_are_found_by_name(wheel: zipfile.ZipFile) -> None:
    parser = ConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # names keep their case
    parser.read_string(wheel.read(f"slipway-{PROJECT['version']}.dist-info/entry_points.txt").decode())
    assert {group: dict(parser[group]) for group in parser.sections()} == {
        "console_scripts": {
            "slipway": "slipway.cli:main",
            "kubectl-slipway": "slipway.cli:run_plugin",
        },
        "vllm.platform_plugins": {"slipway_forking_cpu": "slipway.engine.platform:register"},
    }


def test_only_the_packages_are_inside(names: set[str]) -> None:
    """No tests, no caches, and no .pth file, which would run at every start of the interpreter."""
    tops = {PurePosixPath(name).parts[0] for name in names}
    assert tops == {"slipway", "slipway_operator", f"slipway-{PROJECT['version']}.dist-info"}
    parts = {part for name in names for part in PurePosixPath(name).parts}
    assert parts.isdisjoint({"tests", "test", "__pycache__", ".venvs"})
    assert {PurePosixPath(name).suffix for name in names}.isdisjoint({".pth", ".pyc", ".so", ".log"})


def test_no_path_of_the_machine_it_was_built_on_is_inside(wheel: zipfile.ZipFile, names: set[str]) -> None:
    paths = [str(ROOT).encode() + b"/", sys.prefix.encode()]
    holding = {name for name in names for path in paths if path in wheel.read(name)}
    assert holding == set()
