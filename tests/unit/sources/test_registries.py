"""Against the registry's real server, and a web server that lies."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway.sources import (
    AccessDeniedError,
    DigestMismatchError,
    SourceNotFoundError,
    UnreachableError,
    UnsafeArchiveError,
    fetch,
)
from slipway.sources.cache import Cache
from slipway.sources.registries import derived_key, reading_key
from slipway.training.registry.records import Record
from slipway.training.registry.store import Registry
from slipway.training.workspaces import Workspace
from unit.sources import models
from unit.sources.webserver import Fault, Resource, WebServer
from unit.training.registry import made
from unit.training.registry.serving import Served, serving


@pytest.fixture(autouse=True)
def _engine_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIPWAY_REGISTRY_KEY", raising=False)
    monkeypatch.setenv("SLIPWAY_ENGINE_KEY", "the engines' key")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.of(Workspace(tmp_path / "workspace"))


@pytest.fixture
def record(registry: Registry, tmp_path: Path) -> Record:
    return made.register(registry, tmp_path)


@pytest.fixture
def served(registry: Registry, record: Record, tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "engine-key").write_text("the engines' key\n")
    with serving(registry.root, "--engine-key-file", str(tmp_path / "engine-key")) as one:
        yield one


def test_fetches_a_version_and_its_digest_is_the_registrys(
    served: Served, record: Record, registry: Registry, tmp_path: Path
) -> None:
    model = fetch(f"registry+http://{served.host}/support/v1", cache=tmp_path / "cache")
    assert model.digest == record.digest
    assert model.resolved == f"registry+http://{served.host}/support/v1@{record.digest}"
    wanted = models.content(registry.folder("support", "v1"))
    wanted.pop("record.json")
    assert models.content(model.path) == wanted


def test_a_pinned_version_that_is_cached_asks_nobody(served: Served, record: Record, tmp_path: Path) -> None:
    source = f"registry+http://{served.host}/support/v1"
    model = fetch(source, cache=tmp_path / "cache")
    served.process.terminate()
    served.process.wait()
    assert fetch(f"{source}@{record.digest}", cache=tmp_path / "cache").path == model.path
    # One that is not pinned is asked for, and served from the cache where nobody answers.
    assert fetch(source, cache=tmp_path / "cache").path == model.path
    with pytest.raises(UnreachableError, match="is its server running"):
        fetch(f"registry+http://{served.host}/support/v2", cache=tmp_path / "cache")


def test_another_digest_than_the_pinned_one_is_refused(served: Served, tmp_path: Path) -> None:
    with pytest.raises(DigestMismatchError, match="the registry holds"):
        fetch(f"registry+http://{served.host}/support/v1@sha256:{'0' * 64}", cache=tmp_path / "cache")


def test_what_is_not_there_and_who_may_not_read(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SourceNotFoundError, match="registry list"):
        fetch(f"registry+http://{served.host}/support/v9", cache=tmp_path / "cache")
    monkeypatch.setenv("SLIPWAY_ENGINE_KEY", "another")
    with pytest.raises(AccessDeniedError, match="SLIPWAY_REGISTRY_KEY"):
        fetch(f"registry+http://{served.host}/support/v1", cache=tmp_path / "cache")
    monkeypatch.setenv("SLIPWAY_REGISTRY_KEY", derived_key("the engines' key"))
    assert fetch(f"registry+http://{served.host}/support/v1", cache=tmp_path / "cache").path.is_dir()


def test_the_engines_key_itself_is_never_sent() -> None:
    sent = reading_key({"SLIPWAY_ENGINE_KEY": "secret"})
    assert sent is not None
    assert "secret" not in sent
    assert reading_key({"SLIPWAY_ENGINE_KEY": "secret", "SLIPWAY_REGISTRY_KEY": "own"}) == "own"
    assert reading_key({}) is None


def listing(files: dict[str, bytes], **changes: Any) -> Resource:
    from slipway.sources.manifests import File, Manifest

    listed = [File(name, len(data), models.sha256(data)) for name, data in sorted(files.items())]
    told = {"digest": Manifest(tuple(listed)).digest, "files": [vars(file) for file in listed]} | changes
    return Resource(json.dumps(told).encode())


FILES = {"adapter_config.json": b"{}", "adapter_model.safetensors": models.safetensors(200_000)}


@pytest.fixture
def lying(web: WebServer) -> WebServer:
    web.resources["/support/v1"] = listing(FILES)
    for name, data in FILES.items():
        web.resources[f"/support/v1/{name}"] = Resource(data)
    return web


def source(web: WebServer) -> str:
    return f"registry+{web.url}/support/v1"


def test_a_file_that_is_not_the_listed_one_is_refused(lying: WebServer, tmp_path: Path) -> None:
    wrong = bytearray(FILES["adapter_model.safetensors"])
    wrong[-1] ^= 1
    lying.resources["/support/v1/adapter_model.safetensors"] = Resource(bytes(wrong))
    with pytest.raises(DigestMismatchError):
        fetch(source(lying), cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("sha256-*"))


@pytest.mark.parametrize(
    "name", ["../evil.json", "/etc/evil.json", "a\\..\\evil.json", "C:evil.json", "a\0.json"]
)
def test_a_name_that_leads_elsewhere_is_refused(lying: WebServer, tmp_path: Path, name: str) -> None:
    lying.resources["/support/v1"] = listing(FILES | {name: b"x"})
    with pytest.raises(UnsafeArchiveError, match="outside its folder"):
        fetch(source(lying), cache=tmp_path / "cache")


@pytest.mark.parametrize("name", ["adapter_model.bin", "evil.py", ".ssh/config.json", "training_args.pkl"])
def test_a_file_that_no_model_needs_is_refused(lying: WebServer, tmp_path: Path, name: str) -> None:
    lying.resources["/support/v1"] = listing(FILES | {name: b"x"})
    with pytest.raises(DigestMismatchError, match="not used"):
        fetch(source(lying), cache=tmp_path / "cache")


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"[]",
        b'{"files": 1}',
        b'{"files": [{"path": "x"}], "digest": ""}',
        b"[" * 100_000,
        b'{"digest": "x"}',
    ],
)
def test_what_is_no_registry_is_told(lying: WebServer, tmp_path: Path, answer: bytes) -> None:
    lying.resources["/support/v1"] = Resource(answer)
    with pytest.raises(UnreachableError, match="not answer as a registry"):
        fetch(source(lying), cache=tmp_path / "cache")


def test_a_list_that_is_not_its_digest_is_refused(lying: WebServer, tmp_path: Path) -> None:
    lying.resources["/support/v1"] = listing(FILES, digest=f"sha256:{'0' * 64}")
    with pytest.raises(DigestMismatchError, match="not the digest"):
        fetch(source(lying), cache=tmp_path / "cache")


def test_a_poisoned_safetensors_is_refused_though_its_digest_is_right(
    lying: WebServer, tmp_path: Path
) -> None:
    files = FILES | {"adapter_model.safetensors": b"\x80\x04" + b"x" * 1000}
    lying.resources["/support/v1"] = listing(files)
    lying.resources["/support/v1/adapter_model.safetensors"] = Resource(files["adapter_model.safetensors"])
    from slipway.sources import NotAModelError

    with pytest.raises(NotAModelError, match="no whole safetensors"):
        fetch(source(lying), cache=tmp_path / "cache")


def test_a_download_that_was_cut_goes_on(lying: WebServer, tmp_path: Path) -> None:
    from slipway.sources.addresses import parse
    from slipway.sources.fetching import Fetch

    path = "/support/v1/adapter_model.safetensors"
    lying.resources[path].etag = '"x"'
    lying.faults[path].append(Fault(100_000))
    cache = Cache(tmp_path / "cache")
    model = Fetch(source(lying), parse(source(lying)), cache, lambda _: None, retry_wait_s=0).run()
    assert models.content(model.path) == FILES
    assert [request.range for request in lying.asked(path)] == [None, "bytes=100000-"]
