"""Versions of small datasets, written by the parts that preparation writes with."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from slipway.training.data.identities import record_id
from slipway.training.data.shards import PartShards
from slipway.training.data.versions import (
    MANIFEST,
    PARTS,
    DatasetVersion,
    Manifest,
    Part,
    digest_of,
    version_of,
)
from slipway.training.records import schema

SAMPLES = Path(__file__).parents[1] / "data_samples"


def chat(*said: str, source: str = "here", system: str | None = None) -> dict[str, Any]:
    """A conversation in which user and assistant take turns."""
    turns = [
        {"role": "assistant" if at % 2 else "user", "content": content} for at, content in enumerate(said)
    ]
    before = [] if system is None else [{"role": "system", "content": system}]
    return {"format": "chat", "source": source, "messages": [*before, *turns]}


def version(folder: Path, parts: Mapping[Part, Sequence[Mapping[str, Any]]]) -> DatasetVersion:
    """A version of records; what they leave out is filled in."""
    folder.mkdir(parents=True, exist_ok=True)
    manifests = {}
    for part in PARTS:
        shards = PartShards(folder, part, None)
        rows = [_record(at, row) for at, row in enumerate(parts.get(part, ()), 1)]
        if rows:
            shards.add(pa.Table.from_pylist(rows, schema=schema()))
        manifests[part] = shards.close()
    digest = digest_of(manifests)
    manifest = Manifest(
        name="sample",
        version=version_of(digest),
        digest=digest,
        format="chat",
        inputs="",
        code={},
        sources=[],
        preparation=[],
        augmentation=[],
        split={},
        parts=manifests,
        dropped=[],
        changed={},
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json())
    return DatasetVersion.read(folder)


def tickets(folder: Path) -> DatasetVersion:
    """Support tickets and the code of the queue that each goes to: 84 train, 12 validation, 24 test."""
    rows = [json.loads(line) for line in (SAMPLES / "tickets.jsonl").read_text().splitlines()]
    records = [{"format": "chat", "source": "tickets", **row} for row in rows]
    # The codes take turns in the file, so each part has as many of each.
    return version(folder, {"train": records[:84], "validation": records[84:96], "test": records[96:]})


def _record(at: int, row: Mapping[str, Any]) -> dict[str, Any]:
    filled: dict[str, Any] = {"source": "here", "place": f"here:{at}", "augmented": "", "slices": {}, **row}
    return {"id": record_id(filled), **filled}  # type: ignore[arg-type]
