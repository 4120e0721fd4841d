"""Writes tables into a few large Parquet files, compressed by zstd, and remembers what they hold."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

from slipway.training.data.versions import File, PartManifest, sha256_of

_SHARD = 256 << 20
"""Bytes in memory after which a file is ended."""
_GROUP = 8 << 20
"""Bytes in memory of a row group."""


class Shards:
    """Files named `NAME-00000.parquet` and so on, in one folder."""

    def __init__(self, folder: Path, name: str, schema: Any) -> None:
        self._folder = folder
        self._name = name
        self._schema = schema
        self._waiting: list[Any] = []
        self._size = self._written = 0
        self._writer: Any = None
        self._rows: list[int] = []

    def add(self, table: Any) -> None:
        """Write the rows of a table."""
        if not table.num_rows:
            return
        self._waiting.append(table)
        self._size += table.nbytes
        if self._size >= _GROUP:
            self._flush()

    def close(self) -> list[File]:
        """Write what is left; the files."""
        self._flush()
        self._end()
        paths = [self._path(number) for number in range(len(self._rows))]
        return [
            File(path=path.name, rows=rows, size=path.stat().st_size, sha256=sha256_of(path))
            for path, rows in zip(paths, self._rows, strict=True)
        ]

    def _flush(self) -> None:
        if not self._waiting:
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.concat_tables(self._waiting)
        if self._writer is None:
            path = self._path(len(self._rows))
            self._writer = pq.ParquetWriter(path, self._schema, compression="zstd", compression_level=3)
            self._rows.append(0)
        self._writer.write_table(table, row_group_size=table.num_rows)
        self._rows[-1] += table.num_rows
        self._written += self._size
        self._waiting, self._size = [], 0
        if self._written >= _SHARD:
            self._end()

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._written = None, 0

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._name}-{number:05d}.parquet"


class PartShards:
    """The shards of one part, with its digest and its labels."""

    def __init__(self, folder: Path, part: str, stratify_by: str | None) -> None:
        from slipway.training.records import schema

        self._shards = Shards(folder, part, schema())
        self._stratify_by = stratify_by
        self._digests: list[bytes] = []
        self._labels: Counter[str] = Counter()
        self._rows = self._augmented = self._repeated = 0

    def add(self, table: Any, *, repeated: bool = False) -> None:
        """Write the rows of a table of records.

        Args:
            repeated: they are in the part already.
        """
        self._shards.add(table)
        rows = table.select(["id", "source", "augmented", "slices", "label"]).to_pydict()
        for identity, source, augmented, slices in zip(
            rows["id"], rows["source"], rows["augmented"], rows["slices"], strict=True
        ):
            content = f"{identity}\0{source}\0{augmented}\0{sorted(slices)}"
            self._digests.append(hashlib.blake2b(content.encode(), digest_size=16).digest())
            self._augmented += bool(augmented)
        if self._stratify_by:
            self._labels.update(dict(each).get(self._stratify_by, "") for each in rows["slices"])
        else:
            self._labels.update(label for label in rows["label"] if label is not None)
        self._rows += table.num_rows
        self._repeated += table.num_rows if repeated else 0

    def close(self) -> PartManifest:
        """End the files; what they hold."""
        files = self._shards.close()
        digest = hashlib.sha256()
        for each in sorted(self._digests):
            digest.update(each)
        return PartManifest(
            rows=self._rows,
            augmented=self._augmented,
            repeated=self._repeated,
            digest=digest.hexdigest(),
            labels=dict(self._labels.most_common(1000)),
            files=files,
        )
