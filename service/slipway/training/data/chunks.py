"""Cuts files into pieces that can be read alone, in one pass that also takes their digest.

A piece ends where a record ends: at the end of a line, of a row with its quotes closed, of an element of a
JSON array, at a blank line of a text. It knows the number of its first line, so that what is wrong can be
named.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from slipway.training.errors import DataError

Kind = Literal["lines", "array", "csv", "text", "parquet", "oversized"]
TARGET = 4 << 20
"""Bytes of a piece, or a little more."""
LONGEST = 32 << 20
"""Bytes of one record at most."""
_BLOCK = 1 << 20
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["\[\]{},]', re.DOTALL)
"""A whole string of JSON, or a character that counts outside of strings."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file."""

    path: Path
    name: str
    """Of the file, as people know it."""
    kind: Kind
    offset: int
    """Of its first byte; of a Parquet file the number of the row group, from 0."""
    size: int
    """Bytes."""
    first: int
    """Number of its first line or row, from 1."""
    lines: int = 0
    """Lines in it, where that is known."""
    header: tuple[str, ...] = ()
    """Names of the columns of a CSV file."""
    delimiter: str = ","

    def read(self) -> bytes:
        """Its bytes."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True, slots=True)
class _Span:
    offset: int
    size: int
    first: int
    lines: int
    oversized: bool = False


def cut(path: Path, name: str, suffix: str, digest: Any) -> list[Chunk]:
    """The pieces of an uncompressed file in UTF-8, or of a Parquet file.

    Args:
        suffix: its kind, such as `.jsonl`.
        digest: a hash object that is given each byte of it.

    Raises:
        DataError: it cannot be taken apart at all.
    """
    match suffix:
        case ".parquet":
            return _parquet(path, name, digest)
        case ".csv" | ".tsv":
            return _csv(path, name, suffix, digest)
        case ".txt" | ".md" | ".conll":
            return [_chunk(path, name, "text", span) for span in _lines(path, digest, _end_of_text)]
        case ".json" if _is_array(path):
            return [_chunk(path, name, "array", span) for span in _elements(path, digest)]
    return [_chunk(path, name, "lines", span) for span in _lines(path, digest, _end_of_line)]


def elements(text: bytes) -> Iterator[tuple[int, int]]:
    """Where the elements between the brackets of a JSON array begin and end."""
    start = depth = 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in b"[{":
            depth += 1
        elif mark in b"]}":
            depth -= 1
        elif mark == b"," and depth <= 0:
            yield start, token.start()
            start, depth = token.end(), 0
    yield start, len(text)


def _chunk(path: Path, name: str, kind: Kind, span: _Span, **more: Any) -> Chunk:
    kind = "oversized" if span.oversized else kind
    return Chunk(path, name, kind, span.offset, span.size, span.first, span.lines, **more)


def _lines(path: Path, digest: Any, end_of_record: Callable[[bytes], int]) -> Iterator[_Span]:
    """Spans of whole records; one that is longer than may be is a span of its own.

    Args:
        end_of_record: where in a block, after which the file goes on, its last record ends; 0 for nowhere.
    """
    start = last = at = 0
    first, count, until_last = 1, 0, 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            if at - last > LONGEST:
                # Only the end of the line that is too long is looked for.
                end = block.find(b"\n") + 1
                if end:
                    lines = count - until_last + 1
                    yield _Span(last, at + end - last, first, lines, oversized=True)
                    first, start, last = first + lines, at + end, at + end
                    count, until_last = 0, 0
                count += block.count(b"\n", end)
                at += len(block)
                continue
            if end := end_of_record(block):
                last, until_last = at + end, count + block.count(b"\n", 0, end)
            count += block.count(b"\n")
            at += len(block)
            if last - start >= TARGET or (at - last > LONGEST and last > start):
                yield _Span(start, last - start, first, until_last)
                first, start, count, until_last = first + until_last, last, count - until_last, 0
    if at > start:
        yield _Span(start, at - start, first, count, oversized=at - last > LONGEST)


def _end_of_line(block: bytes) -> int:
    return block.rfind(b"\n") + 1


def _end_of_text(block: bytes) -> int:
    # A text without blank lines is cut at the end of a line.
    for blank in (b"\n\n", b"\n\r\n"):
        if (at := block.rfind(blank)) >= 0:
            return at + len(blank)
    return block.rfind(b"\n") + 1


class _EndOfRow:
    """Finds the ends of CSV rows: line ends with an even number of quotes before them."""

    def __init__(self) -> None:
        self._open = 0

    def __call__(self, block: bytes) -> int:
        quotes = block.count(b'"')
        open_at, end = (self._open + quotes) % 2, len(block)
        self._open = open_at
        while (at := block.rfind(b"\n", 0, end)) >= 0:
            open_at = (open_at + block.count(b'"', at, end)) % 2
            if not open_at:
                return at + 1
            end = at
        return 0


def _csv(path: Path, name: str, suffix: str, digest: Any) -> list[Chunk]:
    import csv

    with path.open("rb") as file:
        head = file.readline(_BLOCK).decode("utf-8", "replace").rstrip("\r\n")
    delimiter = "\t" if suffix == ".tsv" else max(",;\t|", key=head.count)
    header = tuple(next(csv.reader([head], delimiter=delimiter), ()))
    spans = list(_lines(path, digest, _EndOfRow()))
    chunks = [_chunk(path, name, "csv", span, header=header, delimiter=delimiter) for span in spans]
    if any(not column for column in header) or len(set(header)) < len(header):
        raise DataError(f"{name}:1 must name each column once; it is {head[:200]!r}. Write a header line.")
    return chunks


def _is_array(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(_BLOCK).lstrip().startswith(b"[")


def _elements(path: Path, digest: Any) -> Iterator[_Span]:
    """Spans between the brackets of one JSON array, each of whole elements."""
    at = depth = counted = 0
    line = first = 1
    start = None
    rest = b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            text = rest + block
            end = len(text)
            for token in _TOKEN.finditer(text):
                mark = token[0]
                if mark == b'"':
                    end = token.start()  # A string that the next block ends.
                    break
                depth += (mark in b"[{") - (mark in b"]}")
                opens = start is None and mark == b"["
                closes = start is not None and depth == 0
                full = (
                    start is not None and depth == 1 and mark == b"," and at + token.start() - start >= TARGET
                )
                if start is not None and (closes or full):
                    yield _span(start, at + token.start(), first)
                    start = None
                if opens or full:
                    line += text.count(b"\n", counted, token.end())
                    counted = token.end()
                    start, first = at + counted, line
            line += text.count(b"\n", min(counted, end), end)
            at, rest, counted = at + end, text[end:], 0
            if len(rest) > LONGEST:
                raise DataError(
                    f"{path.name} holds a string that ends nowhere, or after {LONGEST >> 20} MiB."
                )
    if start is not None:
        yield _span(start, at + len(rest), first)


def _span(start: int, end: int, first: int) -> _Span:
    return _Span(start, end - start, first, 0, oversized=end - start > LONGEST + TARGET)


def _parquet(path: Path, name: str, digest: Any) -> list[Chunk]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{name} is no Parquet file that can be read ({error}); write it anew.") from error
    chunks, first = [], 1
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group)
        chunks.append(Chunk(path, name, "parquet", group, rows.total_byte_size, first, rows.num_rows))
        first += rows.num_rows
    return chunks


def new_digest() -> Any:
    """A hash object for `cut`."""
    return hashlib.sha256()
