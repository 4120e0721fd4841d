import errno
import logging
from pathlib import Path

import pytest

from slipway.sources import CacheError, DiskFullError, manifests
from slipway.sources.cache import Cache, Entry, default_root
from unit.sources import models


def put(cache: Cache, key: str, files: dict[str, bytes]) -> Entry:
    folder = models.write(cache.partial(key) / "model", files)
    manifest = manifests.make(folder, cancelled=None)
    entry = Entry("source", key, manifest.digest, cache.publish(folder, manifest))
    cache.remember(key, entry)
    return entry


def test_finds_what_was_published(cache: Cache) -> None:
    entry = put(cache, "k", models.files())
    assert cache.lookup("k") == entry
    assert models.content(entry.path) == models.files()
    assert entry.path == cache.root / entry.digest.replace(":", "-")
    assert cache.lookup("other") is None
    assert Cache(cache.root).lookup("k") == entry


def test_equal_content_is_kept_once(cache: Cache) -> None:
    first, second = put(cache, "a", models.files()), put(cache, "b", models.files())
    assert first.path == second.path
    assert len(list(cache.root.glob("sha256-*"))) == 1
    assert not list((cache.root / "partial").glob("*/model"))
    assert put(cache, "c", models.files(seed=1)).digest != first.digest


@pytest.mark.parametrize(
    "damage", ["cut", "missing", "no manifest", "edited manifest", "cut pointer", "no folder"]
)
def test_does_not_serve_what_was_damaged(cache: Cache, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    entry = put(cache, "k", models.files())
    weights, manifest = entry.path / "model.safetensors", entry.path / manifests.NAME
    match damage:
        case "cut":
            weights.write_bytes(weights.read_bytes()[:-1])
        case "missing":
            weights.unlink()
        case "no manifest":
            manifest.unlink()
        case "edited manifest":
            manifest.write_text(manifest.read_text().replace('"size": 23', '"size": 24'))
        case "cut pointer":
            pointer = next((cache.root / "sources").iterdir())
            pointer.write_text(pointer.read_text()[:20])
        case "no folder":
            entry.path.rename(cache.root / "elsewhere")
    with caplog.at_level(logging.WARNING):
        assert cache.lookup("k") is None
    if damage in ("cut", "missing"):
        assert "model.safetensors" in caplog.text
        assert "fetched again" in caplog.text
    assert cache.lookup("k") is None
    assert put(cache, "k", models.files()).path == entry.path
    assert models.content(entry.path) == models.files()
    assert cache.lookup("k") == entry


def test_a_full_disk_is_told_before_with_the_mend(tmp_path: Path) -> None:
    cache = Cache(tmp_path, free=lambda _: 500_000_000)
    cache.require(400_000_000)
    with pytest.raises(DiskFullError) as caught:
        cache.require(2_000_000_000)
    assert "needs 2.1 GB" in str(caught.value)
    assert f"0.5 GB free in {tmp_path}" in str(caught.value)
    assert "SLIPWAY_CACHE" in str(caught.value)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_is_told(cache: Cache, number: int) -> None:
    with pytest.raises(DiskFullError, match="SLIPWAY_CACHE"), cache.telling_full_disk():
        raise OSError(number, "no")
    with pytest.raises(PermissionError), cache.telling_full_disk():
        raise PermissionError


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CacheError, match="SLIPWAY_CACHE"):
        Cache(tmp_path / "file" / "cache")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_root({"SLIPWAY_CACHE": "/c", "XDG_CACHE_HOME": "/x"}) == Path("/c/models")
    assert default_root({"XDG_CACHE_HOME": "/x"}) == Path("/x/slipway/models")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_root({}) == Path("/home/me/.cache/slipway/models")
