"""The images: what their Dockerfile promises, and how they are asked for."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TARGETS = ("gateway", "engine-cpu", "engine-gpu", "training")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def stages() -> dict[str, list[list[str]]]:
    """Name of a stage -> its instructions, each as [word, rest]; the first is its FROM."""
    found: dict[str, list[list[str]]] = {}
    name = ""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, (line.strip() for line in text.splitlines())):
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            name = rest.split(" AS ")[1]
        if name:
            found.setdefault(name, []).append([word, " ".join(rest.split())])
    return found


def chain(target: str) -> list[list[str]]:
    """The instructions of a target and of the stages below it, the lowest first."""
    all_stages = stages()
    own = all_stages[target]
    base = own[0][1].split(" AS ")[0]
    return (chain(base) if base in all_stages else []) + own


def of(instructions: list[list[str]], word: str) -> list[str]:
    return [rest for each, rest in instructions if each == word]


def environment(target: str) -> dict[str, str]:
    pairs = " ".join(of(chain(target), "ENV")).split()
    return dict(pair.split("=", 1) for pair in pairs)


def test_there_is_a_stage_for_each_image() -> None:
    assert set(TARGETS) <= set(stages())


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_as_a_user_whose_number_says_that_it_is_not_root(target: str) -> None:
    assert of(chain(target), "USER") == ["10001:10001"]
    made = " ".join(of(chain(target), "RUN"))
    assert "--uid 10001 --gid 10001" in made


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_writes_below_one_folder_that_can_be_mounted(target: str) -> None:
    variables = environment(target)
    written = ("HOME", "XDG_CACHE_HOME", "SLIPWAY_CACHE", "SLIPWAY_STATE", "VLLM_CACHE_ROOT", "HF_HOME")
    for name in written:
        assert variables[name].startswith("/var/lib/slipway"), name
    assert of(chain(target), "VOLUME") == ["/var/lib/slipway"]
    assert variables["PYTHONDONTWRITEBYTECODE"] == "1"


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_slipway_and_says_what_it_is(target: str) -> None:
    instructions = chain(target)
    # What has children of its own needs a process 1 that waits for those they leave behind.
    through = "" if target == "gateway" else '"tini", "--", '
    assert of(instructions, "ENTRYPOINT")[-1] == f'[{through}"slipway"]'
    assert ("tini" in " ".join(of(instructions, "RUN"))) == bool(through)
    labels = " ".join(of(instructions, "LABEL"))
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in labels
    assert f'title="slipway-{target}"' in labels


@pytest.mark.parametrize("target", TARGETS)
def test_packages_lie_below_the_code_and_what_changes_with_each_commit_comes_last(target: str) -> None:
    copied = of(stages()[target], "COPY")
    assert [line.split()[0] for line in copied] == [
        f"--from={target}-packages",
        "--from=engine-gpu-code" if target == "engine-gpu" else "--from=code",
    ]
    words = [word for word, _ in stages()[target]]
    assert words.index("ARG") > max(at for at, word in enumerate(words) if word in ("COPY", "RUN", "ENV"))
    packages = " ".join(of(stages()[f"{target}-packages"], "COPY"))
    assert f"locks/{target}.txt" in packages
    assert "service" not in packages


def test_the_gateways_health_is_checked_by_what_is_in_the_image() -> None:
    (check,) = of(chain("gateway"), "HEALTHCHECK")
    assert "http.client" in check
    assert "'/livez'" in check


def test_every_installation_checks_hashes_and_makes_bytecode() -> None:
    """All but that of Slipway's own wheel, which is built in a stage of the same build."""
    commands = [
        part for each in stages().values() for _, rest in each for part in rest.split("&&") if "pip" in part
    ]
    installing = [part for part in commands if re.search(r"pip (install|sync)", part)]
    assert len(installing) >= 5
    for command in installing:
        assert "--require-hashes" in command or command.rstrip().endswith("/dist/*.whl"), command
        assert "--compile-bytecode" in command or "/opt/uv/bin/python -m pip" in command, command


def test_what_an_image_starts_from_has_a_version() -> None:
    assert re.search(r"^ARG BASE=python:3\.\d+-slim$", DOCKERFILE, flags=re.MULTILINE)
    (vllm,) = re.findall(r"^ARG VLLM_IMAGE=vllm/vllm-openai:v(\S+)$", DOCKERFILE, flags=re.MULTILINE)
    lock = (ROOT / "locks" / "engine-gpu.txt").read_text(encoding="utf-8")
    assert re.findall(r"^vllm==(\S+)", lock, flags=re.MULTILINE) == [vllm]
    bases = [instructions[0][1].split(" AS ")[0] for instructions in stages().values()]
    assert set(bases) <= {"${BASE}", "${VLLM_IMAGE}", "${SBOM_OF}", "scratch", *stages()}
    assert re.search(r"^ARG SBOM_OF=gateway$", DOCKERFILE, flags=re.MULTILINE)


def test_what_lists_an_images_packages_is_in_no_image() -> None:
    for target in TARGETS:
        copied = [line for line in of(chain(target), "COPY") if "sbom" in line]
        assert not copied, target
    (out,) = of(stages()["sbom"], "COPY")
    assert out == "--from=sbom-made /sbom/sbom.json /"
    assert "locks/sbom.txt" in " ".join(of(stages()["sbom-made"], "COPY"))


def test_an_sbom_has_the_hashes_of_the_lock_and_names_what_the_lock_has_not(tmp_path: Path) -> None:
    hashes = [{"alg": "SHA-256", "content": "aa"}]
    reference = {"type": "distribution", "url": "https://a.example/b/", "hashes": hashes}
    known = {"name": "known", "version": "1", "purl": "pkg:pypi/known@1"}
    other = {"name": "other", "version": "2", "purl": "pkg:pypi/other@2"}
    installed, lock = tmp_path / "installed.json", tmp_path / "lock.json"
    installed.write_text(json.dumps({"components": [known, other]}))
    old = {"name": "other", "version": "1", "purl": "pkg:pypi/other@1"}
    lock.write_text(
        json.dumps({"components": [{**each, "externalReferences": [reference]} for each in (known, old)]})
    )
    command = [sys.executable, str(ROOT / "scripts" / "sbom-hashes"), str(installed), str(lock)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, second = json.loads(done.stdout)["components"]
    assert (first["externalReferences"], second["externalReferences"]) == ([reference], [])
    assert done.stderr == "not in the lock: other 2\n"


def test_nothing_is_fetched_and_run_unseen() -> None:
    assert "latest" not in DOCKERFILE
    assert not re.search(r"\b(curl|wget)\b", DOCKERFILE)
    assert not re.search(r"^ADD\b", DOCKERFILE, flags=re.MULTILINE)


def test_a_build_sees_what_it_copies_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {line[1:] for line in rules if line.startswith("!")}
    copied = {
        source.split("/")[0]
        for instructions in stages().values()
        for line in of(instructions, "COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    }
    assert {entry.split("/")[0] for entry in let_in} == copied
    assert all((ROOT / entry).exists() for entry in let_in)


def build(tmp_path: Path, tools: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/image where only `tools` can build images; each writes down what it is called with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in tools:
        tool = folder / name
        tool.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {tmp_path}/{name}.txt\n')
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    for name in ("bash", "dirname", "grep", "sed", "git", "date"):
        (folder / name).symlink_to(shutil.which(name) or name)
    kept = {
        name: value for name, value in os.environ.items() if name not in ("BASE", "BUILDER", "VLLM_IMAGE")
    }
    return subprocess.run(
        [str(ROOT / "scripts" / "image"), *arguments],
        env={**kept, "PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_builder_it_says_what_to_install(tmp_path: Path) -> None:
    done = build(tmp_path, (), "gateway", "slipway-gateway:1")
    assert done.returncode == 1
    assert "Install one of the three" in done.stderr


def test_a_target_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    done = build(tmp_path, ("podman",), "gatewa", "slipway:1")
    assert done.returncode == 2
    assert all(target in done.stderr for target in TARGETS)
    assert not (tmp_path / "podman.txt").exists()


@pytest.mark.parametrize("tool", ["docker", "podman", "buildah"])
def test_a_builder_that_is_there_is_used(tmp_path: Path, tool: str) -> None:
    done = build(tmp_path, (tool,), "gateway", "slipway-gateway:1", "--network", "host")
    assert done.returncode == 0, done.stderr
    called = (tmp_path / f"{tool}.txt").read_text().split("\n")
    called = called[called.index("build") :]
    assert called[1:5] == ["--target", "gateway", "--tag", "slipway-gateway:1"]
    assert any(re.fullmatch(r"REVISION=([0-9a-f]{40}|unknown)", argument) for argument in called)
    assert called[-4:] == ["--network", "host", ".", ""]
    # Docker's own format is the only one with a health check.
    assert (called.count("docker") == 1) == (tool != "docker")
