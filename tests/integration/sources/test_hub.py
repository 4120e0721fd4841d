"""Against a server that speaks the hub's protocol."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from slipway.sources import (
    AccessDeniedError,
    DigestMismatchError,
    NotAModelError,
    Progress,
    SourceError,
    SourceNotFoundError,
    UnreachableError,
    UnsafeArchiveError,
    UnsafeWeightsError,
    fetch,
)
from unit.sources import models
from unit.sources.webserver import Fault, Resource, WebServer

COMMIT = "0123456789" * 4
NEXT = "9876543210" * 4
REPO = "org/name"
LARGE = ".safetensors"


class Hub:
    """Repositories of a hub; large files redirect to another host, as they do there."""

    def __init__(self, web: WebServer, storage: WebServer) -> None:
        self.web = web
        self.storage = storage

    def commit(
        self, files: Mapping[str, bytes], commit: str = COMMIT, *revisions: str, repo: str = REPO
    ) -> None:
        siblings = []
        for name, data in files.items():
            path = f"/{repo}/resolve/{commit}/{name}"
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            sibling = {"rfilename": name, "size": len(data), "blobId": blob}
            if name.endswith(LARGE):
                digest = models.sha256(data)
                sibling["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 134}
                self.storage.resources[f"/{digest}"] = Resource(data, etag=f'"{digest}"')
                location = {"Location": f"{self.storage.url}/{digest}?Signature=secret"}
                self.web.resources[path] = Resource(status=302, headers=location)
            else:
                self.web.resources[path] = Resource(data, etag=f'"{blob}"')
            siblings.append(sibling)
        info = json.dumps({"id": repo, "sha": commit, "siblings": siblings}).encode()
        for revision in ("main", commit, *revisions):
            self.web.resources[f"/api/models/{repo}/revision/{revision}"] = Resource(info)

    def refuse(self, status: int, code: str = "", revision: str = "main") -> None:
        headers = {"X-Error-Code": code} if code else {}
        self.web.resources[f"/api/models/{REPO}/revision/{revision}"] = Resource(
            status=status, headers=headers
        )

    def stored(self, data: bytes) -> str:
        return f"/{models.sha256(data)}"


@pytest.fixture
def hub(web: WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return Hub(web, web)


def test_fetches_safetensors_and_what_belongs_to_them(hub: Hub, cache: Path) -> None:
    wanted = models.files()
    others = {"pytorch_model.bin": b"x", "onnx/model.onnx": b"x", "run.py": b"x", ".gitattributes": b"x"}
    hub.commit(wanted | others)
    reports = list[Progress]()
    model = fetch(f"hf://{REPO}", cache=cache, progress=reports.append)
    assert models.content(model.path) == wanted
    assert model.resolved == f"hf://{REPO}@{COMMIT}"
    assert not [request for request in hub.web.requests if any(name in request.path for name in others)]
    total = sum(map(len, wanted.values()))
    downloads = [r for r in reports if r.stage == "download" and r.message == f"downloading {REPO}"]
    assert (downloads[-1].done, downloads[-1].total) == (total, total)


def test_a_pinned_commit_is_served_without_a_request(hub: Hub, cache: Path) -> None:
    hub.commit(models.files())
    model = fetch(f"hf://{REPO}@{COMMIT}", cache=cache)
    asked = len(hub.web.requests)
    assert fetch(f"hf://{REPO}@{COMMIT}", cache=cache) == model
    assert len(hub.web.requests) == asked
    # A branch that is that commit now is resolved, not downloaded.
    assert fetch(f"hf://{REPO}", cache=cache).path == model.path
    assert len(hub.web.requests) == asked + 1


def test_a_branch_that_moved_brings_the_new_files(hub: Hub, cache: Path) -> None:
    hub.commit(models.files())
    first = fetch(f"hf://{REPO}@main", cache=cache)
    hub.commit(models.files(seed=1), NEXT)
    second = fetch(f"hf://{REPO}@main", cache=cache)
    assert second.resolved.endswith(NEXT)
    assert second.digest != first.digest
    assert models.content(first.path) == models.files()


def test_a_cut_connection_is_gone_on_with(hub: Hub, cache: Path) -> None:
    files = models.files(3_000_000)
    hub.commit(files)
    path = hub.stored(files["model.safetensors"])
    hub.storage.faults[path].append(Fault(1_500_000))
    model = fetch(f"hf://{REPO}", cache=cache)
    assert models.content(model.path) == files
    assert [request.range for request in hub.storage.asked(path)] == [None, "bytes=1500000-"]


def test_a_broken_off_fetch_is_gone_on_with_by_the_next(hub: Hub, cache: Path) -> None:
    files = models.files(3_000_000) | {"z.json": b"{}"}
    hub.commit(files)
    path = hub.stored(files["model.safetensors"])
    hub.storage.faults[path].extend([Fault(1_500_000), 404])
    with pytest.raises(SourceNotFoundError):
        fetch(f"hf://{REPO}", cache=cache)
    model = fetch(f"hf://{REPO}", cache=cache)
    assert models.content(model.path) == files
    assert hub.storage.asked(path)[-1].range == "bytes=1500000-"


def test_another_content_than_the_hub_promises_is_refused(hub: Hub, cache: Path) -> None:
    files = models.files()
    hub.commit(files)
    hub.storage.resources[hub.stored(files["model.safetensors"])].content = models.safetensors(
        200_000, seed=9
    )
    with pytest.raises(DigestMismatchError):
        fetch(f"hf://{REPO}", cache=cache)
    hub.commit(files)
    hub.web.resources[f"/{REPO}/resolve/{COMMIT}/config.json"].content = b'{"model_type": "LLAMA"}'
    with pytest.raises(DigestMismatchError):
        fetch(f"hf://{REPO}", cache=cache.with_name("another"))
    assert not list(cache.parent.rglob("sha256-*"))


def test_the_token_goes_to_the_hub_and_not_to_its_storage(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with WebServer().running() as storage:
        Hub(hub.web, storage).commit(models.files())
        fetch(f"hf://{REPO}", cache=cache)
        assert {request.authorization for request in hub.web.requests} == {"Bearer hf_secret"}
        assert {request.authorization for request in storage.requests} == {None}


@pytest.mark.parametrize(
    ("status", "code", "error", "mend"),
    [
        (404, "RepoNotFound", SourceNotFoundError, "check the name, or set HF_TOKEN"),
        (401, "", SourceNotFoundError, "check the name, or set HF_TOKEN"),
        (403, "GatedRepo", AccessDeniedError, "accept its terms"),
        (404, "RevisionNotFound", SourceNotFoundError, "no revision 'main'"),
        (403, "", AccessDeniedError, "set HF_TOKEN to a valid one"),
        (500, "", UnreachableError, "answered 500"),
    ],
)
def test_a_refusal_says_the_mend(
    hub: Hub, cache: Path, status: int, code: str, error: type[Exception], mend: str
) -> None:
    hub.refuse(status, code)
    with pytest.raises(error, match=mend):
        fetch(f"hf://{REPO}", cache=cache)


def test_a_gated_file_says_the_mend(hub: Hub, cache: Path) -> None:
    hub.commit(models.files())
    hub.web.resources[f"/{REPO}/resolve/{COMMIT}/model.safetensors"] = Resource(status=403)
    with pytest.raises(AccessDeniedError, match="accept its terms"):
        fetch(f"hf://{REPO}", cache=cache)


def test_without_a_hub_the_cached_model_is_served(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.commit(models.files())
    model = fetch(f"hf://{REPO}", cache=cache)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert fetch(f"hf://{REPO}", cache=cache) == model
    with pytest.raises(UnreachableError, match="HF_ENDPOINT"):
        fetch("hf://org/other", cache=cache)


def test_offline_is_offline(hub: Hub, cache: Path, tmp_path: Path) -> None:
    """HF_HUB_OFFLINE is read when huggingface_hub is imported, so in a process of its own."""
    hub.commit(models.files())
    fetch(f"hf://{REPO}", cache=cache)
    asked = len(hub.web.requests)

    def offline(source: str) -> subprocess.CompletedProcess[str]:
        program = (
            "import sys; from pathlib import Path; from slipway.sources import fetch; "
            "print(fetch(sys.argv[1], cache=Path(sys.argv[2])).path)"
        )
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
        return subprocess.run(
            [sys.executable, "-c", program, source, str(cache)],
            env=environment,
            capture_output=True,
            text=True,
        )

    assert offline(f"hf://{REPO}").stdout.startswith(str(cache))
    missing = offline("hf://org/other")
    assert "HF_HUB_OFFLINE is set" in missing.stderr.splitlines()[-1]
    assert len(hub.web.requests) == asked


def test_without_a_hub_its_own_cache_is_used(
    hub: Hub, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = tmp_path / "hub" / "models--org--name"
    models.write(repo / "snapshots" / COMMIT, models.files() | {"pytorch_model.bin": b"x"})
    models.write(repo / "refs", {"main": COMMIT.encode()})
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    model = fetch(f"hf://{REPO}", cache=cache)
    assert models.content(model.path) == models.files()
    assert model.resolved == f"hf://{REPO}@{COMMIT}"


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({"config.json": b"{}", "pytorch_model.bin": b"x"}, UnsafeWeightsError),
        ({"README.md": b"x"}, NotAModelError),
        ({"config.json": b"{}", "q4.gguf": b"x"}, NotAModelError),
        (models.files() | {"../../evil.json": b"x"}, UnsafeArchiveError),
    ],
)
def test_a_repository_that_is_no_safe_model_is_refused(
    hub: Hub, cache: Path, files: dict[str, bytes], error: type[SourceError]
) -> None:
    hub.commit(files)
    with pytest.raises(error):
        fetch(f"hf://{REPO}", cache=cache)
    assert all("/resolve/" not in request.path for request in hub.web.requests)
