"""Writes a version in the formats of others."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from slipway.training.data.versions import PARTS, DatasetVersion, Part
from slipway.training.errors import DataError
from slipway.training.records import Record

Form = Literal["openai", "jsonl", "parquet"]


def export(version: DatasetVersion, form: Form, folder: Path) -> list[Path]:
    """Write a file for each part of a version that has rows, or copy its Parquet files; what was written.

    Args:
        form: `openai` is its fine-tuning files for chats and preferences, `jsonl` all columns in use.
        folder: made if missing.

    Raises:
        DataError: the format has no such form, or a file is there already.
    """
    if form == "openai" and version.manifest.format not in ("chat", "preference"):
        raise DataError(
            f"{version.reference} has the format {version.manifest.format}; OpenAI's files hold chats and"
            " preferences. Export it as jsonl or parquet."
        )
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for part in PARTS:
        if version.count(part):
            written += (
                _parquet(version, part, folder)
                if form == "parquet"
                else [_lines(version, part, form, folder)]
            )
    return written


def _parquet(version: DatasetVersion, part: Part, folder: Path) -> list[Path]:
    return [Path(shutil.copyfile(path, _new(folder / path.name))) for path in version.files(part)]


def _lines(version: DatasetVersion, part: Part, form: Form, folder: Path) -> Path:
    path = _new(folder / f"{part}.jsonl")
    with path.open("w", encoding="utf-8") as file:
        for row in _rows(version, part, form):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def _rows(version: DatasetVersion, part: Part, form: Form) -> Iterator[dict[str, Any]]:
    for record in version.rows(part):
        yield (
            _openai(record)
            if form == "openai"
            else {k: v for k, v in record.items() if v not in (None, "", {})}
        )


def _openai(record: Record) -> dict[str, Any]:
    """A line of OpenAI's supervised or preference fine-tuning files."""
    if record["format"] == "chat":
        return {"messages": record.get("messages")}
    return {
        "input": {"messages": record.get("messages")},
        "preferred_output": [{"role": "assistant", "content": record.get("chosen")}],
        "non_preferred_output": [{"role": "assistant", "content": record.get("rejected")}],
    }


def _new(path: Path) -> Path:
    if path.exists():
        raise DataError(f"{path} is there already; name another folder with --to.")
    return path
