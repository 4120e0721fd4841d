"""Datasets are fetched as models are: from a hub, a bucket, a package."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from slipway.sources import NoDataError, SourceError, fetch_data
from slipway.sources.manifests import files_of
from unit.sources.webserver import Resource, WebServer

COMMIT = "0123456789" * 4
FILES = {
    "data/train.jsonl": b'{"text": "a"}\n',
    "data/test.csv": b"text\nb\n",
    "run.py": b"x",
    "README.md": b"x",
}


@pytest.fixture
def hub(web: WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> WebServer:
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    siblings = []
    for name, data in FILES.items():
        web.resources[f"/datasets/org/name/resolve/{COMMIT}/{name}"] = Resource(data)
        siblings.append(
            {
                "rfilename": name,
                "size": len(data),
                "blobId": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(),
            }
        )
    info = json.dumps({"id": "org/name", "sha": COMMIT, "siblings": siblings}).encode()
    for revision in ("main", COMMIT):
        web.resources[f"/api/datasets/org/name/revision/{revision}"] = Resource(info)
    return web


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("hf://org/name", ["data/test.csv", "data/train.jsonl"]),
        ("hf://org/name/data/train.jsonl@main", ["data/train.jsonl"]),
        ("hf://org/name/data", ["data/test.csv", "data/train.jsonl"]),
    ],
)
@pytest.mark.usefixtures("hub")
def test_a_repository_of_a_hub(cache: Path, address: str, names: list[str]) -> None:
    found = fetch_data(address, cache=cache)
    assert files_of(found.path) == names
    assert COMMIT in found.resolved
    assert all((found.path / name).read_bytes() == FILES[name] for name in names)


@pytest.mark.usefixtures("hub")
def test_what_holds_no_data_says_what_it_holds(cache: Path) -> None:
    with pytest.raises(NoDataError, match=r"holds no \.parquet, \.jsonl"):
        fetch_data("hf://org/name/run.py", cache=cache)


def test_a_package(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "wheels" / "some_data-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("some_data/rows.csv", "text\na\n")
        archive.writestr("some_data/more/rows.jsonl", '{"text": "b"}\n')
        archive.writestr(
            "some_data-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: some-data\nVersion: 1.0\n"
        )
        archive.writestr("some_data-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("some_data-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    one = fetch_data("pypi://some-data==1.0/rows.csv", cache=cache)
    assert files_of(one.path) == ["rows.csv"]
    folder = fetch_data("pypi://some-data==1.0/some_data", cache=cache)
    assert files_of(folder.path) == ["more/rows.jsonl", "rows.csv"]
    with pytest.raises(SourceError, match=r"its data files are: rows\.csv, rows\.jsonl"):
        fetch_data("pypi://some-data==1.0/other.csv", cache=cache)
