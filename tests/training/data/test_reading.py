"""What files hold, and what is wrong with them: each with its place, whatever the piece it was read in."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slipway.objects.datasets import DataSource
from slipway.training.data import chunks
from slipway.training.data.reading import Broken, Row, place_of, rows
from slipway.training.data.sources import Found, find
from slipway.training.errors import DataError


def found(path: Path, tmp_path: Path) -> Found:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    source = DataSource(name="mine", source=path.as_uri())
    return find(source, "text", scratch, lambda message: None, lambda: None)


def read(path: Path, tmp_path: Path) -> list[tuple[str, Any]]:
    """Place and value, or place and reason, of all that a file holds."""
    return [
        (place_of(chunk, row.number), row.value if isinstance(row, Row) else row.reason)
        for chunk in found(path, tmp_path).chunks
        for row in rows(chunk)
    ]


def broken(path: Path, tmp_path: Path) -> list[Broken]:
    return [row for chunk in found(path, tmp_path).chunks for row in rows(chunk) if isinstance(row, Broken)]


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that every file is cut many times."""
    monkeypatch.setattr(chunks, "TARGET", 40)
    monkeypatch.setattr(chunks, "_BLOCK", 32)


def test_broken_lines_are_named_and_the_others_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'{"text": 1}\r\n\r\n{"text": \n[1]\n{"text": "a\0b"}\n' + b"[" * 100_000 + b'\n{"text": "z"}'
    )
    assert read(path, tmp_path) == [
        ("a.jsonl:1", {"text": 1}),
        ("a.jsonl:3", "bad-json"),
        ("a.jsonl:4", [1]),
        ("a.jsonl:5", "bad-json"),
        ("a.jsonl:6", "too-deep"),
        ("a.jsonl:7", {"text": "z"}),
    ]
    cut, nul, _ = broken(path, tmp_path)
    assert "in the middle" in cut.detail
    assert "NUL" in nul.detail


@pytest.mark.usefixtures("small_pieces")
def test_places_are_right_whatever_the_pieces(tmp_path: Path) -> None:
    values = [{"text": "x" * (number % 50)} for number in range(200)]
    path = tmp_path / "a.jsonl"
    path.write_text(
        "".join(("\n" if n % 3 == 0 else "") + json.dumps(v) + "\n" for n, v in enumerate(values))
    )
    assert len(found(path, tmp_path).chunks) > 20
    where = [n for n, line in enumerate(path.read_text().split("\n"), 1) if line]
    assert read(path, tmp_path) == [(f"a.jsonl:{n}", v) for n, v in zip(where, values, strict=True)]


@pytest.mark.usefixtures("small_pieces")
def test_an_array_of_json_is_read_element_by_element(tmp_path: Path) -> None:
    values = [{"n": n, "text": 'a, ] } [ { "q" \\ \n' * (n % 4), "deep": [{"x": [n]}]} for n in range(60)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(values, indent=2))
    places = [n for n, line in enumerate(path.read_text().split("\n"), 1) if line == "  {"]
    assert len(found(path, tmp_path).chunks) > 5
    assert read(path, tmp_path) == [(f"a.json:{n}", v) for n, v in zip(places, values, strict=True)]


def test_one_broken_element_of_an_array_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"n": 1},\n {"n": oops},\n {"n": 3}]')
    assert read(path, tmp_path) == [("a.json:1", {"n": 1}), ("a.json:2", "bad-json"), ("a.json:3", {"n": 3})]


@pytest.mark.usefixtures("small_pieces")
def test_csv_keeps_newlines_in_quotes_and_counts_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    body = "".join(f'"say ""{n}"",\nplease",{n}\n' for n in range(50))
    path.write_text("text,label\n" + body)
    assert len(found(path, tmp_path).chunks) > 5
    assert read(path, tmp_path) == [
        (f"a.csv:{2 + 2 * n}", {"text": f'say "{n}",\nplease', "label": str(n)}) for n in range(50)
    ]


def test_csv_rows_of_another_width_and_open_quotes_are_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text;label\na;1\nb;2;3\n\nc;4\n"d;5\ne;6\n')
    assert [place for place, _ in read(path, tmp_path)] == ["a.csv:2", "a.csv:3", "a.csv:5", "a.csv:6"]
    wide, unclosed = broken(path, tmp_path)
    assert "3 cells, the header 2" in wide.detail
    assert unclosed.count == 2


def test_a_header_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,text\na,b\n")
    with pytest.raises(DataError, match=r"a\.csv:1 must name each column once"):
        found(path, tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_marked_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"text": "Grüße"}\n{"text": "naïve"}\n'.encode(encoding))
    assert read(path, tmp_path) == [("a.jsonl:1", {"text": "Grüße"}), ("a.jsonl:2", {"text": "naïve"})]


def test_a_line_in_windows_1252_is_read_and_marked(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"text": "ü€"}\n'.encode("cp1252") + '{"text": "ü€"}\n'.encode())
    both = [row for chunk in found(path, tmp_path).chunks for row in rows(chunk)]
    assert [(row.value, row.guessed) for row in both if isinstance(row, Row)] == [
        ({"text": "ü€"}, True),
        ({"text": "ü€"}, False),
    ]


def test_texts_are_parted_by_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n\none\nstill one\n \n\ntwo\n\n\n\nthree")
    assert read(path, tmp_path) == [("a.txt:3", "one\nstill one"), ("a.txt:7", "two"), ("a.txt:11", "three")]


def test_parquet_is_read_by_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"t{n}" for n in range(10)]}), path, row_group_size=4)
    assert read(path, tmp_path) == [(f"a.parquet#{n + 1}", {"text": f"t{n}"}) for n in range(10)]


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"a\.parquet is no Parquet file"):
        found(path, tmp_path)


def test_compressed_files_are_unpacked_and_bombs_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a"}\n'))
    assert read(path, tmp_path) == [("a.jsonl.gz:1", {"text": "a"})]
    path.write_bytes(gzip.compress(b"0" * (80 << 20)))
    with pytest.raises(DataError, match="grows more than 200 times"):
        read(path, tmp_path)
    path.write_bytes(gzip.compress(b'{"text": "a"}\n' * 1000)[:-20])
    with pytest.raises(DataError, match="cannot be unpacked"):
        read(path, tmp_path)


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_that_is_too_long_is_told_and_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    monkeypatch.setattr(chunks, "LONGEST", 1000)
    monkeypatch.setattr(chunks, "_BLOCK", 100)
    path = tmp_path / "a.jsonl"
    rest = b'{"text": "b"}\n{"text": "c"}\n' if end else b""
    path.write_bytes(b'{"text": "a"}\n' + b"x" * 5000 + end + rest)
    expected = [("a.jsonl:1", {"text": "a"}), ("a.jsonl:2", "too-long")]
    more = [("a.jsonl:3", {"text": "b"}), ("a.jsonl:4", {"text": "c"})] if end else []
    assert read(path, tmp_path) == expected + more


def test_an_empty_file_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").touch()
    (tmp_path / "data" / "b.jsonl").write_text('{"text": "a"}\n')
    assert found(tmp_path / "data", tmp_path).empty == ("a.jsonl",)


def test_the_digest_of_a_source_is_that_of_its_contents(tmp_path: Path) -> None:
    for folder, names in (("a", ("1.jsonl", "2.jsonl")), ("b", ("y.jsonl", "x.jsonl"))):
        (tmp_path / folder).mkdir()
        for name, text in zip(names, ("one", "two"), strict=True):
            (tmp_path / folder / name).write_text(json.dumps({"text": text}))
    first, second = (found(tmp_path / folder, tmp_path).digest for folder in ("a", "b"))
    assert first == second
    (tmp_path / "b" / "x.jsonl").write_text(json.dumps({"text": "three"}))
    assert found(tmp_path / "b", tmp_path).digest != first


def test_a_folder_without_data_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "model.bin").touch()
    with pytest.raises(DataError, match=r"Source mine: .* It holds model\.bin"):
        found(tmp_path / "data", tmp_path)
