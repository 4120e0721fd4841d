"""The preparation by datatrove: its reader, its executors, its MinHash deduplication, its Parquet writer.

python datatrove_steps.py FILE.jsonl FOLDER PROCESSES
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_steps import clean
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
from datatrove.pipeline.readers import JsonlReader, ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils.hashing import HashConfig


class Clean(PipelineStep):  # type: ignore[misc]
    """The steps on single texts, and exact duplicates within a task."""

    name = "clean"

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """The documents that are kept."""
        for document in data:
            document.text, kept = clean(document.text)
            if kept:
                document.metadata = {}
                yield document


class Split(PipelineStep):  # type: ignore[misc]
    """Names the part of each document."""

    name = "split"

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """The documents with their part."""
        for document in data:
            draw = hashlib.sha256(document.text.encode()).digest()[0] / 256
            document.metadata["part"] = "train" if draw < 0.8 else "validation" if draw < 0.9 else "test"
            yield document


def main() -> None:
    """Prepare the file."""
    path, folder, processes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    parts = folder / "parts"
    parts.mkdir()
    # A file is the smallest thing that its tasks share out.
    with path.open() as source:
        targets = [(parts / f"{at}.jsonl").open("w") for at in range(processes)]
        for at, line in enumerate(source):
            targets[at % processes].write(line)
        for target in targets:
            target.close()
    config = MinhashConfig(
        n_grams=3, num_buckets=21, hashes_per_bucket=6, hash_config=HashConfig(precision=64)
    )
    names = {name: str(folder / name) for name in ("clean", "signatures", "buckets", "clusters", "out")}

    def run(*steps: Any, tasks: int) -> None:
        LocalPipelineExecutor(
            pipeline=list(steps),
            tasks=tasks,
            workers=min(tasks, processes),
            logging_dir=None,
            skip_completed=False,
        ).run()

    run(JsonlReader(str(parts)), Clean(), ParquetWriter(names["clean"], compression="zstd"), tasks=processes)
    run(
        ParquetReader(names["clean"]),
        MinhashDedupSignature(output_folder=names["signatures"], config=config),
        tasks=processes,
    )
    run(MinhashDedupBuckets(names["signatures"], names["buckets"], config=config), tasks=21)
    run(MinhashDedupCluster(names["buckets"], names["clusters"], config=config), tasks=1)
    run(
        ParquetReader(names["clean"]),
        MinhashDedupFilter(input_folder=names["clusters"]),
        Split(),
        ParquetWriter(names["out"], output_filename="${part}-${rank}.parquet", compression="zstd"),
        tasks=processes,
    )
    import pyarrow.parquet as pq

    print(json.dumps({"rows": sum(pq.read_metadata(each).num_rows for each in Path(names["out"]).glob("*"))}))


if __name__ == "__main__":
    main()
