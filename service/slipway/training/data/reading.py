"""Reads a piece of a file: what each record holds, and where; or what is wrong with it."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from slipway.training.data.chunks import LONGEST, Chunk, elements

_EXCERPT = 2000
"""Characters of a record that is kept beside the reason why it was dropped."""
_BLANK = re.compile(r"\n[ \t\r]*\n")
_BATCH = 512
csv.field_size_limit(LONGEST)


@dataclass(slots=True)
class Row:
    """What a record of a file holds."""

    number: int
    """Of its line or row, from 1."""
    value: Any
    guessed: bool = False
    """Its bytes are no UTF-8; they were read as Windows-1252."""


@dataclass(slots=True)
class Broken:
    """A record that cannot be read."""

    number: int
    reason: str
    detail: str
    excerpt: str = ""
    count: int = 1
    """Lines that are lost with it."""


def place_of(chunk: Chunk, number: int) -> str:
    """Where a record is, for people."""
    return f"{chunk.name}{'#' if chunk.kind == 'parquet' else ':'}{number}"


def rows(chunk: Chunk) -> Iterator[Row | Broken]:
    """All that a piece holds, in order; blank lines are nothing."""
    match chunk.kind:
        case "lines":
            return _json_lines(chunk)
        case "array":
            return _array(chunk)
        case "csv":
            return _csv(chunk)
        case "text":
            return _texts(chunk)
        case "parquet":
            return _parquet(chunk)
    detail = (
        f"It is {chunk.size / 1e6:.0f} MB long, more than the {LONGEST >> 20} MiB that one record may be."
        " Split it; in a CSV file look for a quote that is never closed."
    )
    return iter([Broken(chunk.first, "too-long", detail, count=max(1, chunk.lines))])


def excerpt(text: str) -> str:
    """The beginning of a text, fit to be stored."""
    return text[:_EXCERPT].encode("utf-8", "replace").decode()


def _json_lines(chunk: Chunk) -> Iterator[Row | Broken]:
    for at, raw in enumerate(chunk.read().split(b"\n"), chunk.first):
        line = raw.strip(b" \t\r")
        if line:
            yield _json(line, at, "Each line must hold one whole JSON object.")


def _array(chunk: Chunk) -> Iterator[Row | Broken]:
    data = chunk.read()
    number, counted = chunk.first, 0
    for start, end in elements(data):
        raw = data[start:end]
        element = raw.strip()
        if element:
            at = start + raw.index(element[:1])
            number += data.count(b"\n", counted, at)
            counted = at
            yield _json(element, number, "Each element of the array must be a JSON object.")


def _json(raw: bytes, number: int, rule: str) -> Row | Broken:
    text, guessed = _decode(raw)
    try:
        return Row(number, json.loads(text), guessed)
    except RecursionError:
        return Broken(number, "too-deep", "It is nested too deeply; flatten it.", excerpt(text))
    except ValueError as error:
        if "\0" in text:
            detail = "It holds NUL bytes: it was cut by a crash, or is UTF-16; write it anew as UTF-8."
        elif text[:1] in "[{" and isinstance(error, json.JSONDecodeError) and error.pos >= len(text):
            detail = f"It ends in the middle of JSON. {rule}"
        else:
            detail = f"It is no JSON: {_what(error)}. {rule}"
        return Broken(number, "bad-json", detail, excerpt(text))


def _what(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos + 1}"
    return str(error)


def _csv(chunk: Chunk) -> Iterator[Row | Broken]:
    text, guessed = _decode(chunk.read())
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=chunk.delimiter, strict=True)
    width = len(chunk.header)
    before = 0
    while True:
        number = chunk.first + before
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            detail = f"It is no CSV: {error}. Double the quotes inside of quotes, and close each."
            lines = max(1, reader.line_num - before)
            yield Broken(number, "bad-csv", detail, _lines(text, before, reader.line_num), lines)
        else:
            if number == 1 and tuple(cells) == chunk.header:
                pass
            elif cells and len(cells) != width:
                detail = (
                    f"It has {len(cells)} cells, the header {width}. Quote cells with a {chunk.delimiter!r}."
                )
                yield Broken(number, "bad-csv", detail, _lines(text, before, reader.line_num))
            elif cells:
                yield Row(number, dict(zip(chunk.header, cells, strict=True)), guessed)
        before = reader.line_num


def _lines(text: str, start: int, end: int) -> str:
    return excerpt("\n".join(text.split("\n")[start:end]))


def _texts(chunk: Chunk) -> Iterator[Row | Broken]:
    text, guessed = _decode(chunk.read())
    number, at = chunk.first, 0
    for blank in (*_BLANK.finditer(text), None):
        end = blank.start() if blank else len(text)
        piece = text[at:end]
        if piece.strip():
            lead = len(piece) - len(piece.lstrip("\r\n"))
            yield Row(number + piece.count("\n", 0, lead), piece.strip("\r\n"), guessed)
        if blank:
            number += text.count("\n", at, blank.end())
            at = blank.end()


def _parquet(chunk: Chunk) -> Iterator[Row | Broken]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = chunk.first
    try:
        # A small buffer: a row group may be larger than memory.
        with pq.ParquetFile(chunk.path, buffer_size=1 << 20) as file:
            for batch in file.iter_batches(_BATCH, row_groups=[chunk.offset], use_threads=False):
                for at in range(batch.num_rows):
                    try:
                        yield Row(number, batch.slice(at, 1).to_pylist()[0])
                    except (UnicodeDecodeError, ValueError) as error:
                        yield Broken(number, "bad-encoding", f"It holds text that is no UTF-8 ({error}).")
                    number += 1
    except (pa.ArrowException, OSError) as error:
        lost = chunk.first + chunk.lines - number
        detail = f"The file is damaged from here on ({error}); write it anew."
        yield Broken(number, "bad-parquet", detail, count=max(1, lost))


def _decode(raw: bytes) -> tuple[str, bool]:
    try:
        return raw.decode(), False
    except UnicodeDecodeError:
        import ftfy.bad_codecs

        ftfy.bad_codecs.ok()
        # Windows-1252 with Latin-1's meaning for the five bytes it leaves open, as browsers read it.
        return raw.decode("sloppy-windows-1252"), True
