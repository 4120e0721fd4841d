"""Reads and cleans one piece of a file, alone: what a process does, here or on another machine.

Beside the file of a task's records lie their keys and signatures, which all that looks at all records at once
works on. `NNNNN.json` is written last: a task that has it need not be done again.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from slipway.objects.datasets import Format, PreparationStep
from slipway.training.data.chunks import Chunk
from slipway.training.data.fingerprints import BANDS, ROWS, signatures
from slipway.training.data.formats import InvalidError, to_record
from slipway.training.data.identities import input_of, key, record_id, text_of
from slipway.training.data.reading import Broken, excerpt, place_of, rows
from slipway.training.data.steps import DropError, Step, made
from slipway.training.records import Record, schema
from slipway.training.runs import write_atomically

KEYS = [("high", "u8"), ("low", "u8"), ("input", "u8"), ("group", "u8"), ("stratum", "u8"), ("label", "u8")]
"""What is remembered of each record: its id, what it asks, and the values of the split's fields."""
_ROWS = 8192
_CHARACTERS = 4 << 20
"""Records and characters that are in memory at once."""
_BATCH = 1024
_EXAMPLES = 3
_EXCERPT = 400


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of a source, and what is done to it."""

    number: int
    source: str
    format: Format
    fields: tuple[tuple[str, str], ...]
    chunk: Chunk
    steps: tuple[tuple[str, str], ...]
    """Names and options (JSON) of the steps."""
    stratify_by: str | None
    group_by: str | None
    folder: str
    """Where the results go."""
    template: str
    """File with the runs of words that the signatures leave out."""


def process(task: Task) -> dict[str, Any]:
    """Do a task, unless it is done already; what it counted."""
    done = Path(task.folder) / f"{task.number:05d}.json"
    if done.exists():
        found: dict[str, Any] = json.loads(done.read_text())
        return found
    work = _Work(task)
    for row in rows(task.chunk):
        work.take(row)
    counts = work.finish()
    write_atomically(done, json.dumps(counts))
    return counts


class _Work:
    def __init__(self, task: Task) -> None:
        self._task = task
        self._steps = _steps(task.steps)
        self._redact = _redaction(task.steps)
        self._fields = dict(task.fields)
        self._records: list[Record] = []
        self._texts: list[str] = []
        self._characters = 0
        self._pieces: list[int] = []
        self._dropped: list[dict[str, Any]] = []
        self._reasons: Counter[str] = Counter()
        self._changed: Counter[str] = Counter()
        self._examples: dict[str, list[dict[str, str]]] = {}
        self._read = self._invalid = 0

    def take(self, row: Any) -> None:
        """Clean one row and keep it, or drop it."""
        task = self._task
        place = place_of(task.chunk, row.number)
        if isinstance(row, Broken):
            self._drop(place, row.reason, row.detail, row.excerpt, row.count)
            self._invalid += row.count
            self._read += row.count
            return
        self._read += 1
        try:
            record = to_record(row.value, task.format, self._fields)
        except InvalidError as error:
            self._invalid += 1
            self._drop(place, error.reason, str(error), _shown(row.value))
            return
        record["source"], record["place"] = task.source, place
        notes = ["encoding guessed"] if row.guessed else []
        try:
            for step in self._steps:
                notes += step(record)
        except DropError as error:
            self._drop(place, error.reason, str(error), text_of(record))
            return
        text = text_of(record)
        try:
            text.encode()
        except UnicodeEncodeError:
            self._drop(place, "bad-encoding", "It holds halves of surrogate pairs; use `fix-encoding`.", text)
            return
        self._changed.update(set(notes))
        record["id"] = record_id(record)
        self._records.append(record)
        self._texts.append(text)
        self._characters += len(text)
        if len(self._records) >= _ROWS or self._characters >= _CHARACTERS:
            self._flush()

    def finish(self) -> dict[str, Any]:
        """Write what is left; the counts."""
        self._flush()
        self._write_dropped()
        return {
            "number": self._task.number,
            "source": self._task.source,
            "read": self._read,
            "invalid": self._invalid,
            "pieces": self._pieces,
            "dropped": dict(self._reasons),
            "changed": dict(self._changed),
            "examples": self._examples,
        }

    def _drop(self, place: str, reason: str, detail: str, text: str, count: int = 1) -> None:
        self._reasons[reason] += count
        shown = self._redact(excerpt(text))
        row = {"source": self._task.source, "place": place, "detail": self._redact(excerpt(detail))}
        self._dropped.append({**row, "reason": reason, "excerpt": shown})
        examples = self._examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append({**row, "excerpt": shown[:_EXCERPT]})

    def _flush(self) -> None:
        if not self._records:
            return
        import numpy as np
        import pyarrow as pa

        stem = f"{self._task.number:05d}-{len(self._pieces)}"
        folder = Path(self._task.folder)
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_file(str(folder / f"{stem}.arrow"), schema(), options=options) as file:
            for at in range(0, len(self._records), _BATCH):
                file.write(table(self._records[at : at + _BATCH]))
        keys = np.array([self._keys(record) for record in self._records], dtype=KEYS)
        keys.tofile(folder / f"{stem}.keys")
        found = signatures(self._texts, _template(self._task.template))
        found.reshape(-1, BANDS, ROWS).transpose(1, 0, 2).tofile(folder / f"{stem}.signatures")
        self._pieces.append(len(self._records))
        self._records, self._texts, self._characters = [], [], 0

    def _keys(self, record: Record) -> tuple[int, ...]:
        task, label = self._task, record.get("label") or ""
        stratum = record["slices"].get(task.stratify_by, "") if task.stratify_by else label
        group = record["slices"].get(task.group_by, "") if task.group_by else ""
        high, low = int(record["id"][:16], 16), int(record["id"][16:], 16)
        return high, low, key(input_of(record)), key(group), key(stratum), key(label)

    def _write_dropped(self) -> None:
        import pyarrow as pa

        if self._dropped:
            found = pa.Table.from_pylist(self._dropped, dropped_schema())
            path = Path(self._task.folder) / f"{self._task.number:05d}.dropped"
            with pa.ipc.new_file(str(path), found.schema) as file:
                file.write(found)


def table(records: Sequence[Record]) -> Any:
    """A table of records."""
    import pyarrow as pa

    columns = []
    for field in schema():
        values: list[Any] = [record.get(field.name) for record in records]
        if field.name == "slices":
            values = [list(value.items()) for value in values]
        columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema())


def dropped_schema() -> Any:
    """The Parquet schema of what is in no part."""
    import pyarrow as pa

    return pa.schema([(name, pa.string()) for name in ("source", "place", "reason", "detail", "excerpt")])


@lru_cache(maxsize=4)
def _steps(steps: tuple[tuple[str, str], ...]) -> list[Step]:
    return made([PreparationStep(name=name, options=json.loads(options)) for name, options in steps])


@lru_cache(maxsize=4)
def _redaction(steps: tuple[tuple[str, str], ...]) -> Any:
    """What excerpts go through, so that no personal data is kept beside a reason."""
    if "redact-pii" not in dict(steps):
        return lambda text: text
    from slipway.training.data.steps.personal import redactor

    options = json.loads(dict(steps)["redact-pii"])
    found = redactor(tuple(options.get("kinds", ())))
    return lambda text: found.redact(text)[0]


@lru_cache(maxsize=4)
def _template(path: str) -> Any:
    import numpy as np

    return np.load(path)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
