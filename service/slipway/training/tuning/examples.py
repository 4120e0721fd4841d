"""Examples as arrays in files, mapped into memory: as many as fit a disk."""

import json
from array import array
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from slipway.training.tuning.conversations import Tokens

_ID = 32
"""Characters of a record's id."""


@dataclass(frozen=True, slots=True)
class Examples:
    """One part of a dataset, as tokens. Of a preference two examples are kept: chosen, rejected."""

    ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    ends: NDArray[np.int64]
    """Of each example, where it ends in `ids` and `labels`."""
    sources: NDArray[np.int32]
    """Of each example, the place of its source in `names`."""
    records: NDArray[np.bytes_]
    """Of each example, its record's id."""
    names: list[str]

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each example."""
        return np.diff(self.ends, prepend=0)

    def tokens(self, at: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Ids and labels of one example."""
        begin = int(self.ends[at - 1]) if at else 0
        end = int(self.ends[at])
        return self.ids[begin:end], self.labels[begin:end]

    def record_ids(self, of: Sequence[int] | NDArray[np.int64]) -> list[str]:
        """The ids of their records."""
        return [self.records[at].decode() for at in of]


class Writer:
    """Writes them one after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, int] = {}
        self._end = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        self._stack = ExitStack()
        opened = {
            name: self._stack.enter_context((self._folder / f"{name}.bin").open("wb"))
            for name in ("ids", "labels", "ends", "sources", "records")
        }
        self._files = opened
        return self

    def add(self, tokens: Tokens, record: str, source: str) -> None:
        """Add one example."""
        self._end += len(tokens.ids)
        array("i", tokens.ids).tofile(self._files["ids"])
        array("i", tokens.labels).tofile(self._files["labels"])
        array("q", [self._end]).tofile(self._files["ends"])
        array("i", [self._names.setdefault(source, len(self._names))]).tofile(self._files["sources"])
        self._files["records"].write(record.encode()[:_ID].ljust(_ID, b"\0"))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        (self._folder / "names.json").write_text(json.dumps(list(self._names)))


def read(folder: Path) -> Examples:
    """What was written to a folder."""

    def mapped(name: str, kind: str) -> Any:
        path = folder / f"{name}.bin"
        # An empty file cannot be mapped.
        return np.memmap(path, dtype=kind, mode="r") if path.stat().st_size else np.empty(0, dtype=kind)

    return Examples(
        ids=mapped("ids", "i4"),
        labels=mapped("labels", "i4"),
        ends=mapped("ends", "i8"),
        sources=mapped("sources", "i4"),
        records=mapped("records", f"S{_ID}"),
        names=json.loads((folder / "names.json").read_text()),
    )
