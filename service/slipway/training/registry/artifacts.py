"""What an artifact may be made of: safetensors, configuration, tokenizer; nothing that could run.

Artifacts come from jobs, buckets and other machines, so every name and every file is looked at before it is
taken: refused are pickles and other archives whatever they are called, code, links, devices, names that lead
elsewhere, and safetensors whose header does not hold together (`slipway.sources.safetensors_headers`).
"""

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from slipway.sources.errors import SourceError
from slipway.sources.weights import select, verify
from slipway.training.errors import RegistryError

RECORD = "record.json"
CARD = "README.md"
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,254}")
_DEEPEST = 4
_MOST_FILES = 10_000
_LARGEST_JSON = 128 << 20
_BINARY = (
    (re.compile(rb"\x80[\x00-\x05]"), "a pickle"),
    (re.compile(rb"PK[\x03\x05\x07]"), "a zip archive, as PyTorch's pickles are"),
    (re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd"), "a compressed file"),
    (re.compile(rb"\x7fELF|MZ|#!"), "a program"),
)


def names_of(folder: Path, without: Iterable[str] = ()) -> list[str]:
    """The files below `folder`, sorted; the model card is left out, since a new one is written.

    Raises:
        RegistryError: a link, a device, a name that is not plain, a file that no model needs, no weights.
    """
    left_out = {CARD, *without}
    names = [name for name in _walk(folder) if name not in left_out]
    check_names(names, str(folder))
    return sorted(names)


def check_names(names: Iterable[str], where: str) -> None:
    """Refuse a list of files that an artifact may not have. Raises RegistryError."""
    names = list(names)
    if len(names) > _MOST_FILES or len({name.casefold() for name in names}) != len(names):
        raise RegistryError(
            f"{where} holds too many files, or two of one name: no artifact does.", "BadArtifact"
        )
    for name in names:
        parts = name.split("/")
        if len(parts) > _DEEPEST or not all(_PART.fullmatch(part) for part in parts) or ".." in name:
            raise RegistryError(
                f"{where} holds {name!r}: names of an artifact's files are letters, digits and . _ + = -,"
                " in folders at most three deep. Take it out, or give it such a name.",
                "BadArtifact",
            )
        if name == RECORD:
            raise RegistryError(
                f"{where} holds {RECORD}, which the registry writes itself: take it out.", "BadArtifact"
            )
    try:
        refused = sorted(set(names) - set(select(names, where)))
    except SourceError as error:
        raise RegistryError(str(error), "BadArtifact") from error
    if refused:
        raise RegistryError(
            f"{where} holds {', '.join(refused[:5])}: an artifact is safetensors, configuration and"
            " tokenizer, without pickles, code or a second copy of the weights. Take it out.",
            "BadArtifact",
        )


def check_contents(folder: Path, names: Iterable[str]) -> None:
    """Look into files, loading none. Raises RegistryError for one that is not what its name says."""
    try:
        verify(folder)
    except SourceError as error:
        raise RegistryError(str(error), "BadArtifact") from error
    for name in names:
        path = folder / name
        if name.endswith(".safetensors"):
            continue
        with path.open("rb") as file:
            start = file.read(8)
        for pattern, what in _BINARY:
            if pattern.match(start):
                raise RegistryError(f"{path} is {what}, whatever it is called: take it out.", "BadArtifact")
        if name.endswith(".json"):
            _check_json(path)


def _check_json(path: Path) -> None:
    if path.stat().st_size > _LARGEST_JSON:
        raise RegistryError(f"{path} has more than {_LARGEST_JSON >> 20} MiB of JSON.", "BadArtifact")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise RegistryError(f"{path} is no JSON ({type(error).__name__}).", "BadArtifact") from error
    if isinstance(content, dict) and content.get("auto_map"):
        raise RegistryError(
            f"{path} asks for code of its own (`auto_map`), which nothing here runs: use an architecture"
            " that Transformers has.",
            "BadArtifact",
        )


def _walk(folder: Path) -> Iterator[str]:
    """Every file below `folder`, without following a link."""
    pending = [folder]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                found = list(entries)
        except OSError as error:
            raise RegistryError(f"{folder} cannot be read ({error.strerror}).", "BadArtifact") from error
        for entry in found:
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                pending.append(Path(entry.path))
            elif stat.S_ISREG(mode):
                yield Path(entry.path).relative_to(folder).as_posix()
            else:
                raise RegistryError(
                    f"{entry.path} is a link, a device or a socket: an artifact is made of plain files.",
                    "BadArtifact",
                )
