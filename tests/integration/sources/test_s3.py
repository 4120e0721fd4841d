"""Against moto's server."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import s3fs

from slipway.sources import (
    AccessDeniedError,
    FetchCancelledError,
    Progress,
    SourceChangedError,
    SourceNotFoundError,
    UnreachableError,
    UnsafeWeightsError,
    fetch,
    fetch_data,
)
from slipway.sources import s3 as module
from unit.sources import models

SIZE = 3_000_000
CHUNK = 256 << 10


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class Bucket:
    def __init__(self, endpoint: str, name: str) -> None:
        self.endpoint = endpoint
        self.name = name
        self._client: Any = s3fs.S3FileSystem(endpoint_url=endpoint, skip_instance_cache=True)
        self._client.mkdir(name)

    def put(self, prefix: str, files: dict[str, bytes]) -> None:
        for name, data in files.items():
            self._client.pipe_file(f"{self.name}/{prefix}/{name}", data)


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Bucket:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(module, "_CHUNK", CHUNK)
    return Bucket(endpoint, f"b{abs(hash(request.node.name))}")


def test_fetches_what_belongs_to_a_model(bucket: Bucket, cache: Path) -> None:
    wanted = models.files(SIZE) | {"1_Pooling/config.json": b"{}", "empty.json": b""}
    bucket.put("models/mine", wanted | {"pytorch_model.bin": b"x", "run.py": b"x"})
    bucket.put("models/mine-too", {"config.json": b"x"})
    reports = list[Progress]()
    source = f"s3://{bucket.name}/models/mine/"
    model = fetch(source, cache=cache, progress=reports.append)
    assert models.content(model.path) == wanted
    assert model.resolved.startswith(f"s3://{bucket.name}/models/mine#listing=")
    downloads = [report for report in reports if report.message.startswith("downloading")]
    assert downloads[-1].done == downloads[-1].total == sum(map(len, wanted.values()))
    assert fetch(source, cache=cache) == model


def test_changed_files_are_fetched_anew(bucket: Bucket, cache: Path) -> None:
    bucket.put("m", models.files())
    first = fetch(f"s3://{bucket.name}/m", cache=cache)
    bucket.put("m", models.files(seed=1))
    second = fetch(f"s3://{bucket.name}/m", cache=cache)
    assert models.content(second.path) == models.files(seed=1)
    assert second.resolved != first.resolved


def test_a_file_that_changes_while_it_is_read_is_never_spliced(bucket: Bucket, cache: Path) -> None:
    bucket.put("m", models.files(SIZE))
    replaced = False

    def replace(progress: Progress) -> None:
        nonlocal replaced
        if progress.message.startswith("downloading") and not replaced:
            replaced = True
            bucket.put("m", models.files(SIZE, seed=1))

    with pytest.raises(SourceChangedError, match="fetch it again"):
        fetch(f"s3://{bucket.name}/m", cache=cache, progress=replace)
    model = fetch(f"s3://{bucket.name}/m", cache=cache)
    assert models.content(model.path) == models.files(SIZE, seed=1)


def test_a_cancelled_fetch_is_gone_on_with(
    bucket: Bucket, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("m", models.files(SIZE))
    monkeypatch.setattr("slipway.sources.progress._REPORT_EVERY_S", 0)
    cancelled = threading.Event()

    def cancel(progress: Progress) -> None:
        if progress.message.startswith("downloading") and progress.done > 1_000_000:
            cancelled.set()

    with pytest.raises(FetchCancelledError):
        fetch(f"s3://{bucket.name}/m", cache=cache, progress=cancel, cancelled=cancelled)
    reports = list[Progress]()
    model = fetch(f"s3://{bucket.name}/m", cache=cache, progress=reports.append)
    assert models.content(model.path) == models.files(SIZE)
    counts = [report.done for report in reports if report.message.startswith("downloading")]
    # The first reports count what was there; no range is read twice.
    assert any(count > 1_000_000 for count in counts[:6])


def test_a_cut_connection_is_gone_on_with(
    bucket: Bucket, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("m", models.files(SIZE))
    with cutting(bucket.endpoint, after=100_000, times=2) as (endpoint, cuts):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        model = fetch(f"s3://{bucket.name}/m", cache=cache)
    assert models.content(model.path) == models.files(SIZE)
    assert len(cuts) == 2


def test_one_gguf_object(bucket: Bucket, cache: Path) -> None:
    from slipway.sources.addresses import parse
    from slipway.sources.cache import Cache
    from slipway.sources.fetching import Fetch
    from slipway.sources.origins import Job

    bucket.put("m", {"q.gguf": b"GGUF", "other.gguf": b"x"})

    def convert(gguf: Path, scratch: Path, job: Job) -> Path:
        assert gguf.read_bytes() == b"GGUF"
        return models.write(scratch / "converted", models.files())

    source = f"s3://{bucket.name}/m/q.gguf"
    model = Fetch(
        source, parse(source), Cache(cache), lambda _: None, convert=convert, require_converter=lambda: None
    ).run()
    assert models.content(model.path) == models.files()


def test_says_what_is_not_there(bucket: Bucket, cache: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="check the bucket"):
        fetch(f"s3://{bucket.name}/none", cache=cache)
    with pytest.raises(SourceNotFoundError, match="check the bucket"):
        fetch(f"s3://{bucket.name}-none/m", cache=cache)
    with pytest.raises(SourceNotFoundError, match="check the bucket"):
        fetch(f"s3://{bucket.name}/none.gguf", cache=cache)
    bucket.put("p", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    with pytest.raises(UnsafeWeightsError):
        fetch(f"s3://{bucket.name}/p", cache=cache)


def test_without_credentials(
    bucket: Bucket, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(AccessDeniedError, match="AWS_ACCESS_KEY_ID"):
        fetch(f"s3://{bucket.name}/m", cache=cache)


def test_without_network_the_cached_model_is_served(
    bucket: Bucket, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("m", models.files())
    model = fetch(f"s3://{bucket.name}/m", cache=cache)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert fetch(f"s3://{bucket.name}/m", cache=cache) == model
    with pytest.raises(UnreachableError, match="AWS_ENDPOINT_URL"):
        fetch(f"s3://{bucket.name}/other", cache=cache)


@contextlib.contextmanager
def cutting(endpoint: str, *, after: int, times: int) -> Iterator[tuple[str, list[int]]]:
    """A way to `endpoint` that cuts a connection after that many bytes of answers, that many times."""
    host, port = endpoint.removeprefix("http://").split(":")
    cuts: list[int] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def copy(source: socket.socket, target: socket.socket, limit: bool) -> None:
        copied = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                copied += len(data)
                if limit and copied > after and len(cuts) < times:
                    cuts.append(copied)
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            while True:
                client = stack.enter_context(listener.accept()[0])
                server = stack.enter_context(socket.create_connection((host, int(port))))
                for source, target, limit in ((client, server, False), (server, client, True)):
                    threads.append(threading.Thread(target=copy, args=(source, target, limit)))
                    threads[-1].start()

    threads: list[threading.Thread] = []
    main = threading.Thread(target=accept)
    main.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", cuts
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        main.join()
        for thread in threads:
            thread.join()


def test_data_is_fetched_by_its_prefix_or_as_one_object(bucket: Bucket, cache: Path) -> None:
    files = {"a.jsonl": b'{"text": "a"}', "deep/b.parquet": b"PAR1", "model.bin": b"x"}
    bucket.put("data", files)
    folder = fetch_data(f"s3://{bucket.name}/data", cache=cache)
    assert models.content(folder.path) == {name: files[name] for name in ("a.jsonl", "deep/b.parquet")}
    one = fetch_data(f"s3://{bucket.name}/data/a.jsonl", cache=cache)
    assert models.content(one.path) == {"a.jsonl": files["a.jsonl"]}
    with pytest.raises(SourceNotFoundError):
        fetch_data(f"s3://{bucket.name}/data/b.jsonl", cache=cache)
