import errno
import logging
import threading
from pathlib import Path

import pytest

from slipway.sources import (
    AccessDeniedError,
    ConversionError,
    DiskFullError,
    FetchCancelledError,
    FetchedModel,
    MissingDependencyError,
    NotAModelError,
    Progress,
    SourceNotFoundError,
    UnreachableError,
    UnsafeWeightsError,
    fetch,
)
from slipway.sources.addresses import parse
from slipway.sources.cache import Cache
from slipway.sources.fetching import Fetch
from slipway.sources.origins import Job
from unit.sources import models
from unit.sources.webserver import Resource, WebServer
from unit.sources.worker import WebOrigin

COMMIT = "0123456789" * 4


class Origin:
    """Says and brings what it is told to."""

    def __init__(self, files: dict[str, bytes], pinned: str = f"hf://org/name@{COMMIT}") -> None:
        self.files = files
        self.pinned = pinned
        self.offline: str | None = None
        self.refuses: Exception | None = None
        self.breaks: Exception | None = None
        self.resolved = 0
        self.downloaded = 0

    def resolve(self, job: Job) -> str:
        self.resolved += 1
        if self.refuses:
            raise self.refuses
        return self.pinned

    def resolve_offline(self) -> str | None:
        return self.offline

    def download(self, folder: Path, job: Job) -> Path:
        self.downloaded += 1
        model = models.write(folder / "model", self.files)
        if self.breaks:
            raise self.breaks
        return next(model.glob("*.gguf"), model)


class Converter:
    """Makes the same model of every GGUF file."""

    def __init__(self) -> None:
        self.converted: list[bytes] = []

    def __call__(self, gguf: Path, scratch: Path, job: Job) -> Path:
        self.converted.append(gguf.read_bytes())
        if not gguf.read_bytes().startswith(b"GGUF"):
            raise ConversionError("broken")
        return models.write(scratch / "converted", models.files())


def run(
    cache: Cache,
    origin: Origin,
    source: str = "hf://org/name",
    *,
    reports: list[Progress] | None = None,
    convert: Converter | None = None,
    cancelled: threading.Event | None = None,
) -> FetchedModel:
    report = (reports if reports is not None else []).append
    require = (lambda: None) if convert else None
    one = Fetch(source, parse(source), cache, report, cancelled, origin=origin)
    if convert and require:
        one = Fetch(
            source,
            parse(source),
            cache,
            report,
            cancelled,
            origin=origin,
            convert=convert,
            require_converter=require,
        )
    return one.run()


def test_a_fetched_model_has_its_files_digest_and_pinned_form(cache: Cache) -> None:
    origin = Origin(models.files())
    model = run(cache, origin)
    assert models.content(model.path) == models.files()
    assert model.path.name == model.digest.replace(":", "-")
    assert model.source == "hf://org/name"
    assert model.resolved == f"hf://org/name@{COMMIT}"
    assert not list((cache.root / "partial").iterdir())


def test_a_pinned_source_is_not_asked_for_again(cache: Cache) -> None:
    origin = Origin(models.files())
    source = f"hf://org/name@{COMMIT}"
    first, second = run(cache, origin, source), run(cache, origin, source)
    assert first == second
    assert (origin.resolved, origin.downloaded) == (1, 1)


def test_an_unpinned_source_is_asked_for_each_time_and_downloaded_once(cache: Cache) -> None:
    origin = Origin(models.files())
    first, second = run(cache, origin), run(cache, origin)
    assert first == second
    assert (origin.resolved, origin.downloaded) == (2, 1)
    origin.pinned, origin.files = "hf://org/name@" + "b" * 40, models.files(seed=1)
    third = run(cache, origin)
    assert third.digest != first.digest
    assert first.path.exists()


def test_without_network_the_last_known_model_is_served_and_said_so(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    origin, reports = Origin(models.files()), list[Progress]()
    first = run(cache, origin)
    origin.refuses = UnreachableError("The network is down.")
    assert run(cache, origin, reports=reports) == first
    assert f"serving the cached hf://org/name@{COMMIT}" in reports[-1].message
    assert "The network is down." in caplog.text


def test_without_network_another_cache_of_the_machine_is_asked(cache: Cache) -> None:
    origin = Origin(models.files())
    origin.refuses = UnreachableError("The network is down.")
    with pytest.raises(UnreachableError):
        run(cache, origin)
    origin.offline = "hf://org/name@" + "c" * 40
    assert run(cache, origin).resolved == origin.offline


def test_another_refusal_is_not_answered_from_the_cache(cache: Cache) -> None:
    origin = Origin(models.files())
    run(cache, origin)
    origin.refuses = AccessDeniedError("gated")
    with pytest.raises(AccessDeniedError):
        run(cache, origin)


def test_a_damaged_model_is_fetched_again(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    origin = Origin(models.files())
    model = run(cache, origin)
    (model.path / "model.safetensors").write_bytes(b"cut")
    with caplog.at_level(logging.WARNING):
        assert run(cache, origin) == model
    assert origin.downloaded == 2
    assert models.content(model.path) == models.files()
    assert "model.safetensors has 3 bytes" in caplog.text


def test_weights_that_are_not_whole_are_not_published(cache: Cache) -> None:
    files = models.files()
    files["model.safetensors"] = files["model.safetensors"][:-1]
    with pytest.raises(NotAModelError):
        run(cache, Origin(files))
    assert not list(cache.root.glob("sha256-*"))


def test_what_came_before_a_failure_is_kept(cache: Cache) -> None:
    origin = Origin(models.files())
    origin.breaks = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(DiskFullError, match="SLIPWAY_CACHE"):
        run(cache, origin)
    assert list((cache.root / "partial").glob("*/model/model.safetensors"))
    origin.breaks = None
    assert run(cache, origin)


def test_nothing_is_downloaded_that_would_not_fit(tmp_path: Path, web: WebServer) -> None:
    for name, data in models.files().items():
        web.resources[f"/{name}"] = Resource(data)
    full = Cache(tmp_path, free=lambda _: 1 << 20)
    with pytest.raises(DiskFullError, match=f"1 MB free in {tmp_path}.*SLIPWAY_CACHE"):
        Fetch("hf://org/name", parse("hf://org/name"), full, lambda _: None, origin=WebOrigin(web.url)).run()
    assert not list((tmp_path / "partial").rglob("*.safetensors*"))


def test_a_cancelled_fetch_does_nothing(cache: Cache) -> None:
    cancelled = threading.Event()
    cancelled.set()
    origin = Origin(models.files())
    with pytest.raises(FetchCancelledError):
        run(cache, origin, cancelled=cancelled)
    assert origin.downloaded == 0
    with pytest.raises(FetchCancelledError):
        fetch("hf://org/name", cache=cache.root, cancelled=cancelled)


def test_a_gguf_file_is_converted_once_wherever_it_comes_from(cache: Cache) -> None:
    convert = Converter()
    first = run(cache, Origin({"m.gguf": b"GGUF1"}, "hub"), "hf://org/name/m.gguf", convert=convert)
    assert models.content(first.path) == models.files()
    same = run(cache, Origin({"m.gguf": b"GGUF1"}, "bucket"), "s3://bucket/m.gguf", convert=convert)
    assert (same.path, same.resolved) == (first.path, "bucket")
    assert convert.converted == [b"GGUF1"]
    run(cache, Origin({"m.gguf": b"GGUF2"}, "other"), "s3://bucket/other.gguf", convert=convert)
    assert convert.converted == [b"GGUF1", b"GGUF2"]


def test_a_failed_conversion_keeps_the_download(cache: Cache) -> None:
    with pytest.raises(ConversionError):
        run(cache, Origin({"m.gguf": b"broken"}), "hf://org/name/m.gguf", convert=Converter())
    assert list((cache.root / "partial").glob("*/model/m.gguf"))
    assert not list(cache.root.glob("sha256-*"))


def test_nothing_is_downloaded_that_could_not_be_converted(cache: Cache) -> None:
    origin = Origin({"m.gguf": b"GGUF"})
    with pytest.raises(MissingDependencyError, match=r"slipway\[engine-cpu\]"):
        run(cache, origin, "hf://org/name/m.gguf")
    assert origin.downloaded == 0


def test_a_folder_is_used_where_it_is(tmp_path: Path) -> None:
    folder = models.write(tmp_path / "my model", models.files())
    model = fetch(folder.as_uri(), cache=tmp_path / "cache")
    assert model.path == folder
    assert model.digest.startswith("sha256:")
    assert fetch(folder.as_uri()).digest == model.digest
    assert not (tmp_path / "cache").exists()
    assert models.content(folder) == models.files()


def test_a_folders_digest_tells_a_change(tmp_path: Path) -> None:
    folder = models.write(tmp_path / "m", models.files())
    before = fetch(folder.as_uri()).digest
    weights = folder / "model.safetensors"
    weights.write_bytes(models.safetensors(200_000, seed=1))
    assert fetch(folder.as_uri()).digest != before


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({"config.json": b"{}", "pytorch_model.bin": b""}, UnsafeWeightsError),
        ({"config.json": b"{}"}, NotAModelError),
        ({"model.safetensors": b""}, NotAModelError),
        ({"config.json": b"{}", "model.safetensors": b"version https://git-lfs"}, NotAModelError),
    ],
)
def test_a_folder_is_checked(tmp_path: Path, files: dict[str, bytes], error: type[Exception]) -> None:
    with pytest.raises(error):
        fetch(models.write(tmp_path / "m", files).as_uri())


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="volume"):
        fetch((tmp_path / "none").as_uri())
    with pytest.raises(SourceNotFoundError):
        fetch((tmp_path / "none.gguf").as_uri(), cache=tmp_path / "cache")


def test_a_gguf_file_of_this_machine_is_read_once(cache: Cache, tmp_path: Path) -> None:
    gguf = tmp_path / "m.gguf"
    gguf.write_bytes(b"GGUF1")
    convert = Converter()

    def get() -> FetchedModel:
        one = Fetch(
            gguf.as_uri(),
            parse(gguf.as_uri()),
            cache,
            lambda _: None,
            convert=convert,
            require_converter=lambda: None,
        )
        return one.run()

    assert get() == get()
    assert convert.converted == [b"GGUF1"]
    assert gguf.exists()
    gguf.write_bytes(b"GGUF22")
    get()
    assert convert.converted == [b"GGUF1", b"GGUF22"]
