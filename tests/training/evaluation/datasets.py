"""Prepared datasets for tests, written as the data stage writes them."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from slipway.training.data.versions import (
    DatasetVersion,
    File,
    Manifest,
    Part,
    PartManifest,
    digest_of,
    version_of,
)
from slipway.training.records import schema
from slipway.training.workspaces import Workspace


def chat(question: str, answer: str, **slices: str) -> dict[str, Any]:
    """A row of a conversation."""
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"format": "chat", "messages": messages, "slices": slices}


def labelled(text: str, label: str, **slices: str) -> dict[str, Any]:
    """A row of a classification."""
    return {"format": "classification", "text": text, "label": label, "slices": slices}


def dataset(
    workspace: Workspace, name: str, parts: Mapping[Part, Sequence[dict[str, Any]]]
) -> DatasetVersion:
    """A version with these rows."""
    manifests, tables = {}, {}
    for part, rows in parts.items():
        whole = [_whole(row, f"{part}.jsonl:{number}") for number, row in enumerate(rows, 1)]
        tables[part] = pa.Table.from_pylist(whole, schema=schema())
        digest = hashlib.sha256("".join(sorted(row["id"] for row in whole)).encode()).hexdigest()
        manifests[part] = PartManifest(rows=len(rows), digest=digest)
    digest = digest_of(manifests)
    folder = workspace.datasets / name / version_of(digest)
    folder.mkdir(parents=True)
    for part, table in tables.items():
        path = folder / f"{part}-00000.parquet"
        pq.write_table(table, path)
        size, sha256 = path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
        manifests[part].files = [File(path=path.name, rows=table.num_rows, size=size, sha256=sha256)]
    manifest = Manifest(
        name=name, version=version_of(digest), digest=digest, format="chat", inputs="", code={}, sources=[],
        preparation=[], augmentation=[], split={}, parts=manifests, dropped=[], changed={},
    )  # fmt: skip
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return DatasetVersion(folder, manifest)


def _whole(row: dict[str, Any], place: str) -> dict[str, Any]:
    identity = hashlib.sha256(f"{place} {row}".encode()).hexdigest()[:32]
    slices = list((row.get("slices") or {}).items())
    return {"id": identity, "source": "test", "place": place, "augmented": "", **row, "slices": slices}
