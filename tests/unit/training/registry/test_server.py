import base64
import hashlib
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway.training.registry.records import Record
from slipway.training.registry.store import Registry
from slipway.training.workspaces import Workspace
from unit.sources import models
from unit.training.registry import made
from unit.training.registry.serving import Served, serving

KEY = "a-key-of-the-registry"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry.of(Workspace(tmp_path_factory.mktemp("workspace")))


@pytest.fixture(scope="module")
def record(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Record:
    return made.register(registry, tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "key"
    path.write_text(f"{KEY}\n")
    return path


@pytest.fixture(scope="module")
def served(registry: Registry, record: Record, key_file: Path) -> Iterator[Served]:
    with serving(registry.root, "--key-file", str(key_file)) as one:
        yield one


def ask(
    served: Served, path: str, method: str = "GET", key: str | None = KEY, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(served.host, timeout=10)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        connection.request(method, path, headers=sent)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_lists_a_version_with_its_digests(served: Served, record: Record) -> None:
    status, headers, body = ask(served, "/support/v1")
    told: dict[str, Any] = json.loads(body)
    assert status == 200
    assert told["digest"] == record.digest
    assert headers["ETag"] == f'"{record.digest}"'
    assert told["stage"] == "candidate"
    assert told["files"] == [file.model_dump() for file in record.files]
    status, _, body = ask(served, "/")
    assert json.loads(body)["names"]["support"]["v1"]["digest"] == record.digest
    status, _, body = ask(served, "/support/v1/record.json")
    assert Record.model_validate_json(body) == record


def test_hands_out_files_and_ranges_with_the_digest_of_the_whole(served: Served) -> None:
    whole = models.safetensors(5_000)
    status, headers, body = ask(served, "/support/v1/adapter_model.safetensors")
    assert (status, body) == (200, whole)
    digest = base64.b64encode(hashlib.sha256(whole).digest()).decode()
    assert headers["Repr-Digest"] == f"sha-256=:{digest}:"
    status, headers, body = ask(served, "/support/v1/adapter_model.safetensors", Range="bytes=1000-1999")
    assert (status, body) == (206, whole[1000:2000])
    assert headers["Content-Range"] == f"bytes 1000-1999/{len(whole)}"
    assert headers["Repr-Digest"] == f"sha-256=:{digest}:"
    status, _, _ = ask(served, "/support/v1/adapter_model.safetensors", Range="bytes=9999999-")
    assert status == 416
    status, headers, body = ask(served, "/support/v1/adapter_model.safetensors", method="HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(len(whole)), b"")


@pytest.mark.parametrize(
    "path", ["/", "/support/v1", "/support/v1/adapter_model.safetensors", "/none/v1", "/x"]
)
@pytest.mark.parametrize("key", [None, "", "wrong", KEY[:-1], f"{KEY}x", "ü"])
def test_lets_nobody_in_without_the_key(served: Served, path: str, key: str | None) -> None:
    connection = http.client.HTTPConnection(served.host, timeout=10)
    headers = {} if key is None else {"Authorization": f"Bearer {key}".encode()}
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    assert response.status == 401
    assert b"sha256" not in response.read()
    connection.close()


def test_health_needs_no_key(served: Served) -> None:
    assert ask(served, "/health", key=None)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/support/v1", "/support/v1/adapter_model.safetensors"])
def test_changes_nothing(served: Served, method: str, path: str) -> None:
    assert ask(served, path, method=method)[0] == 405


@pytest.mark.parametrize(
    "path",
    [
        "/support/v2",
        "/none/v1",
        "/support",
        "/support/v1/",
        "/support/v1/none.json",
        "/support/v1/../v1/tokenizer.json/..",
        "/support/v1/..%2f..%2fstages.json",
        "/support/v1/%2e%2e/stages.json",
        "/support/stages.json",
        "/support/.lock",
        "/..%2f..%2fetc/v1",
        "/support/v1/%2fetc%2fpasswd",
        "/support/v1/adapter_model.safetensors%00",
        "//etc/passwd",
    ],
)
def test_nothing_else_is_there(served: Served, path: str) -> None:
    status, _, body = ask(served, path)
    assert status == 404
    assert b"/" not in body.replace(b"application/json", b"")


def test_a_rotated_key_counts_at_once_and_a_missing_one_lets_nobody_in(
    served: Served, key_file: Path
) -> None:
    try:
        key_file.write_text("another")
        assert ask(served, "/support/v1")[0] == 401
        assert ask(served, "/support/v1", key="another")[0] == 200
        key_file.write_text("")
        assert ask(served, "/support/v1", key="")[0] == 401
        key_file.unlink()
        assert ask(served, "/support/v1")[0] == 401
    finally:
        key_file.write_text(KEY)
    assert ask(served, "/support/v1")[0] == 200


def test_a_file_that_was_changed_or_linked_is_not_handed_out(
    served: Served, registry: Registry, tmp_path: Path
) -> None:
    made.register(registry, tmp_path, "other")
    folder = registry.folder("other", "v1")
    (tmp_path / "secret").write_bytes(b'{"version": "1.0"}')
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to(tmp_path / "secret")
    status, _, body = ask(served, "/other/v1/tokenizer.json")
    assert (status, b"1.0" in body, str(tmp_path).encode() in body) == (500, False, False)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").write_bytes(b"{}")
    assert ask(served, "/other/v1/tokenizer.json")[0] == 500
    (registry.root / "linked").mkdir()
    (registry.root / "linked" / "v1").symlink_to(folder)
    assert ask(served, "/linked/v1")[0] == 500


def test_says_why_it_does_not_start(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "slipway.training.registry",
        "serve",
        "--root",
        str(tmp_path),
        "--port",
        "0",
    ]
    ended = subprocess.run(
        [*command, "--key-file", str(tmp_path / "none")], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "cannot be read" in ended.stderr
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "--key-file" in ended.stderr


def test_ends_soon_after_it_is_told_to(registry: Registry, key_file: Path) -> None:
    with serving(registry.root, "--key-file", str(key_file)) as one:
        assert ask(one, "/health")[0] == 200
        one.process.terminate()
        assert one.process.wait(20) == 0
