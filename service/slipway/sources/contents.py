"""What is taken of an address: the files of a model, or those of a dataset."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slipway.sources import weights
from slipway.sources.errors import NoDataError

PACKED = (".gz", ".bz2", ".zst")
"""Compressions that data may come in."""
_TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".md", ".conll")
_DATA = (".parquet", *_TABLES, *(table + packed for table in _TABLES for packed in PACKED))
_NO_DATA = {"dataset_infos.json", "dataset_info.json", "state.json", "README.md", "LICENSE.txt", "LICENSE.md"}


@dataclass(frozen=True)
class Contents:
    """One kind of things that can be fetched."""

    select: Callable[[Iterable[str], str], list[str]]
    """The files to take, of all names below an address; raises where there are none."""
    verify: Callable[[Path], None]
    """Looks whether a fetched folder is whole."""
    suffixes: tuple[str, ...]
    """Ends of the names of single files that an address may name."""
    repository: Literal["model", "dataset"]
    """The kind of repository on a hub."""
    prefix: str = ""
    """Of its keys in the cache, so that kinds are told apart."""


def select_data(names: Iterable[str], where: str) -> list[str]:
    """The files with data in them, sorted.

    Raises:
        NoDataError: there are none.
    """
    names = sorted(names)
    taken = [name for name in names if _is_data(name)]
    if not taken:
        found = f" It holds {', '.join(names[:8])}." if names else ""
        raise NoDataError(f"{where} holds no {', '.join(('.parquet', *_TABLES))}.{found}")
    return taken


def _is_data(name: str) -> bool:
    *folders, base = name.split("/")
    hidden = base.startswith(".") or any(folder.startswith(".") for folder in folders)
    return base.endswith(_DATA) and base not in _NO_DATA and not hidden


MODEL = Contents(weights.select, weights.verify, (".gguf",), "model")
DATA = Contents(select_data, lambda folder: None, _DATA, "dataset", "data:")
