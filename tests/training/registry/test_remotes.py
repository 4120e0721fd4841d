"""Copies in a bucket, against moto's server."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import s3fs

from slipway.training.errors import RegistryError
from slipway.training.registry.records import FileRecord, Record, manifest_of
from slipway.training.registry.remotes import pull, push
from slipway.training.registry.store import Registry
from slipway.training.workspaces import Workspace
from unit.sources import models
from unit.training.registry import made


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def files(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client: Any = s3fs.S3FileSystem(endpoint_url=endpoint, skip_instance_cache=True, use_listings_cache=False)
    if not client.exists("copies"):
        client.mkdir("copies")
    return client


@pytest.fixture
def place(files: Any, request: pytest.FixtureRequest) -> str:
    return f"s3://copies/{request.node.name.replace('[', '-').replace(']', '')}"


@pytest.fixture
def own(tmp_path: Path) -> Registry:
    return Registry.of(Workspace(tmp_path / "own"))


@pytest.fixture
def other(tmp_path: Path) -> Registry:
    return Registry.of(Workspace(tmp_path / "other"))


def key(place: str, name: str) -> str:
    return f"{place.removeprefix('s3://')}/support/v1/{name}"


def test_a_version_goes_there_and_back(own: Registry, other: Registry, place: str, tmp_path: Path) -> None:
    first = made.register(own, tmp_path, seed=0)
    second = made.register(own, tmp_path, seed=1)
    assert push(own, first, place) == f"{place}/support/v1"
    push(own, second, place)
    push(own, second, place)  # Again changes nothing.
    assert pull(other, place, "support") == second
    assert pull(other, place, "support", "v1", first.digest) == first
    assert other.verify("support", "v1") == other.verify("support", "v2") == []
    assert models.content(other.folder("support", "v1")) == models.content(own.folder("support", "v1"))
    # The next version of its own comes after those.
    assert made.register(other, tmp_path, seed=5).version == "v3"


def test_an_unfinished_copy_is_not_there(
    own: Registry, other: Registry, place: str, files: Any, tmp_path: Path
) -> None:
    record = made.register(own, tmp_path)
    push(own, record, place)
    files.rm(key(place, "record.json"))
    with pytest.raises(RegistryError, match="has no version of support"):
        pull(other, place, "support")
    with pytest.raises(RegistryError, match="does not hold"):
        pull(other, place, "support", "v1")
    push(own, record, place)
    assert pull(other, place, "support") == record


def test_another_version_of_the_number_is_refused(
    own: Registry, other: Registry, place: str, tmp_path: Path
) -> None:
    push(own, made.register(own, tmp_path, seed=0), place)
    different = made.register(other, tmp_path, seed=1)
    with pytest.raises(RegistryError, match="is another support/v1"):
        push(other, different, place)
    with pytest.raises(RegistryError, match="Another support/v1 is here"):
        pull(other, place, "support")


def test_of_two_at_once_one_has_the_number(
    own: Registry, other: Registry, place: str, tmp_path: Path
) -> None:
    registries = {own: made.register(own, tmp_path, seed=0), other: made.register(other, tmp_path, seed=1)}

    def tried(pair: tuple[Registry, Record]) -> str:
        try:
            push(*pair, place)
        except RegistryError as error:
            return error.reason
        return "pushed"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(tried, registries.items())) == ["Exists", "pushed"]
    third = Registry(tmp_path / "third" / "registry")
    assert pull(third, place, "support").digest in {record.digest for record in registries.values()}


@pytest.mark.parametrize("damage", ["changed", "longer", "shorter", "missing"])
def test_a_file_that_is_not_the_registered_one_is_refused(
    own: Registry, other: Registry, place: str, files: Any, tmp_path: Path, damage: str
) -> None:
    push(own, made.register(own, tmp_path), place)
    path = key(place, "adapter_model.safetensors")
    whole = files.cat_file(path)
    if damage == "missing":
        files.rm(path)
    else:
        changed = whole[:-1] + bytes([whole[-1] ^ 1])
        files.pipe_file(path, {"changed": changed, "longer": whole + b"x", "shorter": whole[:-1]}[damage])
    with pytest.raises(RegistryError):
        pull(other, place, "support")
    assert other.names() == []
    assert not list((other.root / ".scratch").iterdir())


def poisoned(record: Record, name: str, data: bytes) -> bytes:
    """A record that agrees with itself, with one more file."""
    more = FileRecord.model_construct(path=name, size=len(data), sha256=models.sha256(data))
    every = (*record.files, more)
    made_up = record.model_copy(update={"files": every, "digest": manifest_of(every).digest})
    return made_up.model_dump_json().encode()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("../../../evil.json", b"{}"),
        ("/tmp/evil.json", b"{}"),
        ("a/../../evil.json", b"{}"),
        ("evil\n.json", b"{}"),
        ("training_args.bin", b"\x80\x04."),
        ("evil.py", b"print()"),
        ("tokenizer.model", b"\x80\x04."),
        ("more.safetensors", b"\x80\x04."),
        ("config.json", b'{"auto_map": {"AutoModel": "x--y.Z"}}'),
        ("record.json", b"{}"),
    ],
)
def test_a_poisoned_copy_is_refused_though_its_digests_are_right(
    own: Registry, other: Registry, place: str, files: Any, tmp_path: Path, name: str, data: bytes
) -> None:
    record = made.register(own, tmp_path)
    push(own, record, place)
    if name.isprintable() and ".." not in name and not name.startswith("/"):
        files.pipe_file(key(place, name), data)
    files.pipe_file(key(place, "record.json"), poisoned(record, name, data))
    with pytest.raises(RegistryError) as caught:
        pull(other, place, "support")
    assert caught.value.reason in ("BadArtifact", "WrongDigest")
    assert other.names() == []
    assert not (tmp_path / "evil.json").exists()
    assert not Path("/tmp/evil.json").exists()


def test_a_record_that_is_none_is_refused(
    own: Registry, other: Registry, place: str, files: Any, tmp_path: Path
) -> None:
    record = made.register(own, tmp_path)
    push(own, record, place)
    whole = json.loads(files.cat_file(key(place, "record.json")))
    for changed in (
        b"x",
        b"[]",
        json.dumps(whole | {"name": "other"}).encode(),
        json.dumps(whole | {"version": "v9"}).encode(),
        json.dumps(whole | {"version": "../v1"}).encode(),
        json.dumps(whole | {"digest": f"sha256:{'0' * 64}"}).encode(),
    ):
        files.pipe_file(key(place, "record.json"), changed)
        with pytest.raises(RegistryError):
            pull(other, place, "support", "v1")
    assert other.names() == []


def test_a_damaged_version_is_not_copied(own: Registry, place: str, files: Any, tmp_path: Path) -> None:
    record = made.register(own, tmp_path)
    (own.folder("support", "v1") / "tokenizer.json").unlink()
    with pytest.raises(RegistryError, match="damaged and not copied"):
        push(own, record, place)
    assert not files.exists(f"{place}/support/v1")


def test_says_what_is_wrong_with_the_place(own: Registry, files: Any, tmp_path: Path) -> None:
    record = made.register(own, tmp_path)
    for place in ("copies", "http://x/y", "s3://", "file://relative"):
        with pytest.raises(RegistryError, match="is no place for copies"):
            push(own, record, place)
    with pytest.raises(RegistryError, match="does not hold"):
        push(own, record, "s3://no-such-bucket/x")


def test_nobody_there(own: Registry, tmp_path: Path, files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(RegistryError, match="cannot be reached"):
        push(own, made.register(own, tmp_path), "s3://copies/x")
