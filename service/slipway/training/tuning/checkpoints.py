"""Checkpoints: whole or not there, proved by a digest, the newest few kept.

checkpoints/step-00000012/
  tensors.safetensors   master weights and optimizer state
  state.json            step, counters, digest of the tensors
"""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

_NAME = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was read of one."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def save(folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> Path:
    """Write one; a process that is killed meanwhile leaves the others as they were.

    Returns: where it lies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"step-{step:08d}"
    unfinished = folder / f".{target.name}.unfinished"
    rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    save_file(tensors, unfinished / "tensors.safetensors")
    document = state | {"step": step, "digest": _digest(unfinished / "tensors.safetensors")}
    (unfinished / "state.json").write_text(json.dumps(document, indent=1))
    for path in (*unfinished.iterdir(), unfinished):
        _sync(path)
    rmtree(target, ignore_errors=True)
    unfinished.rename(target)
    _sync(folder)
    return target


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest sound one, and sentences on those that were passed over."""
    broken: list[str] = []
    for _, path in reversed(_all(folder)):
        try:
            return _read(path), broken
        except (OSError, ValueError, KeyError) as error:
            broken.append(f"The checkpoint {path.name} is broken ({error}); the one before it is taken.")
    return None, broken


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep`, and what was never finished."""
    for _, path in _all(folder)[:-keep]:
        rmtree(path, ignore_errors=True)
    for path in folder.glob(".step-*.unfinished"):
        rmtree(path, ignore_errors=True)


def _read(path: Path) -> Checkpoint:
    state = json.loads((path / "state.json").read_text())
    digest = _digest(path / "tensors.safetensors")
    if digest != state["digest"]:
        raise ValueError(f"its digest is {digest}, not {state['digest']}")
    return Checkpoint(state["step"], load_file(path / "tensors.safetensors"), state)


def _all(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    matches = [(match, path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted((int(match[1]), path) for match, path in matches)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
