import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.sources import fetch
from slipway.training.errors import RegistryError
from slipway.training.registry import stages
from slipway.training.registry.store import Registry
from slipway.training.workspaces import Workspace
from unit.sources import models
from unit.training.registry import made


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.of(Workspace(tmp_path / "workspace"))


def test_a_version_is_whole_and_numbered(registry: Registry, tmp_path: Path) -> None:
    first, second = (made.register(registry, tmp_path, seed=seed) for seed in (0, 1))
    assert (first.version, second.version) == ("v1", "v2")
    assert registry.versions("support") == ["v1", "v2"]
    assert registry.record("support", "v2") == second
    assert first.digest != second.digest
    folder = registry.folder("support", "v1")
    assert (folder / "README.md").read_text() == "# support v1, 4 files\n"
    assert models.content(folder)["adapter_model.safetensors"] == models.safetensors(5_000)
    assert registry.verify("support", "v1") == []
    assert not list((registry.root / ".scratch").iterdir())


def test_the_digest_is_the_one_that_a_fetched_copy_has(registry: Registry, tmp_path: Path) -> None:
    record = made.register(registry, tmp_path)
    lines = "".join(f"{file.sha256} {file.size} {file.path}\n" for file in record.files)
    assert [file.path for file in record.files] == sorted(file.path for file in record.files)
    assert record.digest == f"sha256:{models.sha256(lines.encode())}"
    # The same files, read by whoever fetches models.
    copy = models.write(tmp_path / "copy", models.content(registry.folder("support", "v1")))
    (copy / "record.json").unlink()
    from slipway.sources import manifests

    assert manifests.make(copy, cancelled=None).digest == record.digest
    assert fetch(registry.folder("support", "v1").as_uri()).path == registry.folder("support", "v1")


def test_the_same_again_is_no_new_version(registry: Registry, tmp_path: Path) -> None:
    # A stage that was killed after it had registered begins again.
    first = made.register(registry, tmp_path)
    assert made.register(registry, tmp_path) == first
    assert made.register(registry, tmp_path, method="dora").version == "v2"
    assert made.register(registry, tmp_path, seed=1, method="dora").version == "v3"
    assert registry.versions("support") == ["v1", "v2", "v3"]


def test_a_version_is_made_of_versions_that_are_there(registry: Registry, tmp_path: Path) -> None:
    made.register(registry, tmp_path)
    assert made.register(registry, tmp_path, "merged", parents=("support/v1",)).version == "v1"
    with pytest.raises(RegistryError, match="no support/v2"):
        made.register(registry, tmp_path, "merged", parents=("support/v2",))


def test_a_version_cannot_be_written_over(registry: Registry, tmp_path: Path) -> None:
    made.register(registry, tmp_path)
    for path in registry.folder("support", "v1").iterdir():
        assert path.stat().st_mode & 0o222 == 0


def test_two_processes_at_once_get_different_numbers(registry: Registry, tmp_path: Path) -> None:
    made.artifact(tmp_path / "artifact")
    code = (
        "import sys; from pathlib import Path; from unit.training.registry import made;"
        "from slipway.training.registry.store import Registry;"
        "print(*[Registry(Path(sys.argv[1])).register(made.draft(method=f'{sys.argv[3]}.{at}'),"
        " Path(sys.argv[2]), made.card).version for at in range(10)])"
    )
    command = [sys.executable, "-c", code, str(registry.root), str(tmp_path / "artifact")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    started = [
        subprocess.Popen([*command, str(at)], stdout=subprocess.PIPE, text=True, env=environment)
        for at in range(3)
    ]
    told = [process.communicate()[0].split() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert sorted(version for each in told for version in each) == sorted(f"v{at}" for at in range(1, 31))
    assert len(registry.versions("support")) == 30
    for version in registry.versions("support"):
        assert registry.record("support", version).version == version


def test_a_number_taken_without_the_lock_is_not_taken_again(registry: Registry, tmp_path: Path) -> None:
    # As by a machine whose file system keeps locks to itself.
    made.register(registry, tmp_path)
    folder = registry.folder("support", "v2")

    def card(about: object, version: str, files: object) -> str:
        if version == "v2":
            models.write(folder, {"record.json": b"{}"})
        return version

    record = registry.register(made.draft(), made.artifact(tmp_path / "x", 1), card)
    assert record.version == "v3"
    assert (registry.folder("support", "v3") / "README.md").read_text() == "v3"
    assert (folder / "record.json").read_bytes() == b"{}"


def test_a_bad_artifact_leaves_nothing(registry: Registry, tmp_path: Path) -> None:
    folder = models.write(made.artifact(tmp_path / "a"), {"training_args.bin": b"\x80\x04"})
    with pytest.raises(RegistryError, match=r"training_args\.bin"):
        registry.register(made.draft(), folder, made.card)
    assert registry.names() == []
    (folder / "training_args.bin").unlink()
    models.write(folder, {"adapter_model.safetensors": models.safetensors(100)[:-1]})
    with pytest.raises(RegistryError, match="no whole safetensors"):
        registry.register(made.draft(), folder, made.card)
    assert registry.names() == []
    assert not list((registry.root / ".scratch").iterdir())


@pytest.mark.parametrize("name", ["../x", "a/b", "A", "", "-a", "a..b", "a\n", "x" * 64])
def test_refuses_odd_names(registry: Registry, tmp_path: Path, name: str) -> None:
    with pytest.raises(RegistryError, match="is no name"):
        registry.register(made.draft(name), made.artifact(tmp_path / "a"), made.card)
    with pytest.raises(RegistryError, match="is no name"):
        registry.record(name, "v1")


@pytest.mark.parametrize("version", ["..", "v0", "v01", "1", "v1/..", "v1\n", "stages.json"])
def test_refuses_odd_versions(registry: Registry, version: str) -> None:
    with pytest.raises(RegistryError, match="is no version"):
        registry.folder("support", version)


def test_promotion_retires_the_one_before(registry: Registry, tmp_path: Path) -> None:
    for seed in range(3):
        made.register(registry, tmp_path, seed=seed)
    assert registry.newest("support") == "v3"
    assert registry.promote("support", "v1") is None
    assert registry.newest("support") == "v1"
    assert registry.promote("support", "v2", "better") == "v1"
    standings = stages.read(registry.root / "support").versions
    assert {name: at.stage for name, at in standings.items()} == {
        "v1": "retired",
        "v2": "promoted",
        "v3": "candidate",
    }
    assert standings["v2"].note == "better"
    registry.retire("support", "v2")
    assert registry.newest("support") == "v3"
    with pytest.raises(RegistryError, match=r"no support/v9"):
        registry.promote("support", "v9")


def test_finds_every_kind_of_damage(registry: Registry, tmp_path: Path) -> None:
    folder = registry.folder("support", made.register(registry, tmp_path).version)
    weights = folder / "adapter_model.safetensors"
    weights.chmod(0o644)
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert [fault.split(" ")[0] for fault in registry.verify("support", "v1")] == [
        "adapter_model.safetensors"
    ]
    weights.write_bytes(whole)
    assert registry.verify("support", "v1") == []
    models.write(folder, {"config.json": b"{}"})
    assert registry.verify("support", "v1") == ["config.json is there and not in the record."]
    (folder / "config.json").unlink()
    (folder / "tokenizer.json").unlink()
    assert registry.verify("support", "v1") == ["tokenizer.json is missing."]
    (folder / "tokenizer.json").symlink_to("/etc/passwd")
    assert "is a link" in registry.verify("support", "v1")[0]


def test_a_record_that_was_changed_is_refused(registry: Registry, tmp_path: Path) -> None:
    made.register(registry, tmp_path)
    path = registry.folder("support", "v1") / "record.json"
    path.chmod(0o644)
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"files": record["files"][1:]}))
    with pytest.raises(RegistryError, match="not the digest"):
        registry.record("support", "v1")
    assert "not the digest" in registry.verify("support", "v1")[0]
    path.write_text(json.dumps(record | {"version": "v2"}))
    with pytest.raises(RegistryError, match="is the record of support/v2"):
        registry.record("support", "v1")
    path.write_text(json.dumps(record | {"more": 1}))
    with pytest.raises(RegistryError, match="no record"):
        registry.record("support", "v1")


_SWEEP = """
import os, signal, sys
from pathlib import Path
from slipway.training.registry.store import Registry
from unit.training.registry import made

root, artifact = Path(sys.argv[1]), Path(sys.argv[2])
CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "shutil.rmtree"}
draft = made.draft()  # One for all, as it holds the time.
for moment in range(10_000):
    child = os.fork()
    if child == 0:
        left = moment
        def strike(event, arguments):
            global left
            if event in CHANGES:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(strike)
        Registry(root).register(draft, artifact, made.card)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    registry = Registry(root)
    for version in registry.versions("support"):
        assert registry.verify("support", version) == [], moment
        assert registry.standing("support", version).stage == "candidate"
    if os.waitstatus_to_exitcode(status) == 0:
        print(moment, *registry.versions("support"))
        break
"""


def test_killed_at_each_moment_a_version_is_whole_or_not_there(registry: Registry, tmp_path: Path) -> None:
    made.artifact(tmp_path / "artifact")
    done = subprocess.run(
        [sys.executable, "-c", _SWEEP, str(registry.root), str(tmp_path / "artifact")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        check=False,
    )
    assert done.stderr == ""
    moments, *versions = done.stdout.split()
    assert int(moments) > 20
    # Whoever begins again after a kill finds the version that is there.
    assert versions == ["v1"]
