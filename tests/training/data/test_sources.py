"""Data from a web server, a bucket, a claim."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from slipway.objects.datasets import DatasetSpec, DataSource
from slipway.training.data.sources import Found, find
from slipway.training.errors import DataError
from training.data.preparing import lines, prepared, records, sentence

ROWS = [{"text": sentence(n)} for n in range(30)]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of a web server for the files of `tmp_path`."""
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The endpoint of an S3 with an empty bucket `data`."""
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "tests"),
        ("AWS_SECRET_ACCESS_KEY", "tests"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    S3FileSystem(skip_instance_cache=True).mkdir("data")
    yield f"http://{host}:{port}"
    server.stop()


def looked_through(address: str, tmp_path: Path) -> Found:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    source = DataSource(name="mine", source=address)
    return find(source, "text", scratch, lambda message: None, lambda: None)


@pytest.mark.parametrize("name", ["rows.jsonl", "content"])
def test_one_file_of_a_web_server(tmp_path: Path, served: str, name: str) -> None:
    lines(tmp_path / name, ROWS)
    wanted = DatasetSpec.model_validate(
        {"format": "text", "sources": [{"name": "web", "source": f"{served}/{name}?key=secret"}]}
    )
    version = prepared(tmp_path / "work", wanted)
    assert len(records(version)) == 30
    assert version.manifest.sources[0].resolved == f"{served}/{name}"


def test_a_file_that_the_web_server_lacks_is_named(tmp_path: Path, served: str) -> None:
    with pytest.raises(DataError, match=r"Source mine: .*/none\.jsonl answered 404"):
        looked_through(f"{served}/none.jsonl", tmp_path)


def test_objects_of_a_bucket(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from s3fs import S3FileSystem

    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    content = lines(tmp_path / "rows.jsonl", ROWS).read_bytes()
    S3FileSystem(skip_instance_cache=True).pipe_file("data/some/rows.jsonl", content)
    found = looked_through("s3://data/some", tmp_path)
    assert [chunk.name for chunk in found.chunks] == ["rows.jsonl"]
    assert found.resolved.startswith("s3://data/some#listing=")
    (tmp_path / "scratch").rmdir()
    with pytest.raises(DataError, match="Source mine: s3://data/none holds no objects"):
        looked_through("s3://data/none", tmp_path)


def test_a_claim_is_read_where_it_is_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="on a cluster only"):
        looked_through("pvc://team/rows.jsonl", tmp_path)
    (tmp_path / "scratch").rmdir()
    lines(tmp_path / "claims" / "team" / "rows.jsonl", ROWS)
    monkeypatch.setenv("SLIPWAY_CLAIMS", str(tmp_path / "claims"))
    assert looked_through("pvc://team/rows.jsonl", tmp_path).files == 1
    (tmp_path / "scratch").rmdir()
    with pytest.raises(DataError, match="leads out of its claim"):
        looked_through("pvc://team/../../etc", tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Source mine: /nowhere does not exist") as caught:
        looked_through("file:///nowhere", tmp_path)
    assert caught.value.reason == "SourceMissing"
