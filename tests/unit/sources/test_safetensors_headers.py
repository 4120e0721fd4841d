import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway.sources import safetensors_headers
from unit.sources import models

ONE = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def write(path: Path, header: Any, data: int = 16, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + bytes(data))
    return path


def test_reads_what_a_header_says(tmp_path: Path) -> None:
    two = {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]}
    empty = {"dtype": "I64", "shape": [0, 7], "data_offsets": [22, 22]}
    header = {"__metadata__": {"format": "pt"}, "b": two, "a": ONE, "e": empty}
    found = safetensors_headers.read(write(tmp_path / "x", header, 22))
    assert found.tensors["a"].shape == (2, 2)
    assert found.tensors["b"].dtype == "BF16"
    assert found.metadata == {"format": "pt"}
    assert found.size == (tmp_path / "x").stat().st_size


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"a": ONE, "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}, "overlaps"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}, "hole"),
        ({"a": {"dtype": "F32", "shape": [5], "data_offsets": [0, 20]}}, "instead of"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, "instead of"),
        ({"a": ONE | {"shape": [3]}}, "shape of 12"),
        ({"a": ONE | {"data_offsets": [16, 0]}}, "place"),
        ({"a": ONE | {"data_offsets": [0, -16]}}, "place"),
        ({"a": ONE | {"data_offsets": [0]}}, "place"),
        ({"a": ONE | {"data_offsets": [0, 16.0]}}, "place"),
        ({"a": ONE | {"dtype": "OBJECT"}}, "unknown dtype"),
        ({"a": ONE | {"dtype": ["F32"]}}, "unknown dtype"),
        ({"a": ONE | {"shape": [-2, -2]}}, "no shape"),
        ({"a": ONE | {"shape": [True, 4]}}, "no shape"),
        ({"a": ONE | {"shape": [1] * 17 + [4]}}, "no shape"),
        ({"a": ONE | {"shape": [2**62, 2**62]}}, "larger than any file"),
        ({"a": ONE | {"more": 1}}, "not told by"),
        ({"a": 1}, "not told by"),
        ({"__metadata__": {"x": 1}}, "metadata"),
        ([], "no JSON object"),
        (b'{"a": ', "no JSON"),
        (b"{\xff\xff}", "no JSON"),
        (b'{"a": {}, "a": {}}', "twice"),
        (b'{"a":' + b"[" * 200_000, "no JSON"),
        (b'{"a":' + b"9" * 10_000 + b"}", "digits"),
    ],
)
def test_refuses_a_header_that_does_not_hold_together(tmp_path: Path, header: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        safetensors_headers.read(write(tmp_path / "x", header))


def test_refuses_a_giant_header_without_reading_it(tmp_path: Path) -> None:
    path = write(tmp_path / "x", {"a": ONE}, length=1 << 60)
    with pytest.raises(ValueError, match="at most"):
        safetensors_headers.read(path)
    path = write(tmp_path / "x", {"a": ONE}, length=90_000_000)
    with pytest.raises(ValueError, match="header alone"):
        safetensors_headers.read(path)
    with pytest.raises(ValueError, match="at most 10"):
        safetensors_headers.read(write(tmp_path / "x", {"a": ONE}), longest=10)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_read_or_refused_and_never_more(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(models.safetensors(64))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "x").write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        found = safetensors_headers.read(tmp_path / "x")
    except ValueError:
        return
    assert found.size == (tmp_path / "x").stat().st_size
    assert all(tensor.end <= found.size for tensor in found.tensors.values())
