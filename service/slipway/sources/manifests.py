"""A list of a folder's files with sizes and digests, kept inside the folder.

The folder's own digest is SHA-256 over that list: equal files make an equal digest, wherever they come from.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from slipway.sources.progress import check

NAME = "slipway-manifest.json"
_CHUNK = 1 << 20
_THREADS = 4


@dataclass(frozen=True)
class File:
    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    files: tuple[File, ...]

    @property
    def digest(self) -> str:
        """`sha256:…` over names, sizes and digests."""
        lines = "".join(f"{file.sha256} {file.size} {file.path}\n" for file in self.files)
        return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def save(self, folder: Path) -> None:
        """Write it into `folder`."""
        content = {"version": 1, "digest": self.digest, "files": [vars(file) for file in self.files]}
        (folder / NAME).write_text(json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """Read it from `folder`.

        Raises:
            ValueError: it is missing, cut or not its own digest.
        """
        try:
            content = json.loads((folder / NAME).read_text())
            manifest = cls(
                tuple(File(str(f["path"]), int(f["size"]), str(f["sha256"])) for f in content["files"])
            )
            digest = content["digest"]
        except (OSError, KeyError, TypeError) as error:
            raise ValueError(f"{NAME} cannot be read: {error!r}") from error
        if manifest.digest != digest:
            raise ValueError(f"{NAME} does not match its own digest")
        return manifest

    def damage(self, folder: Path) -> str | None:
        """What is wrong with `folder`, by a look at the sizes alone; None where nothing is."""
        for file in self.files:
            try:
                size = (folder / file.path).stat().st_size
            except OSError:
                return f"{file.path} is missing"
            if size != file.size:
                return f"{file.path} has {size} bytes instead of {file.size}"
        return None


def files_of(folder: Path) -> list[str]:
    """Paths of all files below `folder`, relative to it, sorted, without the manifest and hidden folders."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(root, name)
            if path.is_file():
                found.append(path.relative_to(folder).as_posix())
    return sorted(name for name in found if name != NAME)


def make(
    folder: Path, *, cancelled: threading.Event | None, read: Callable[[int], None] = lambda _: None
) -> Manifest:
    """Read all files below `folder`, flush them to disk and list them.

    Args:
        read: told how many bytes were read, from several threads.
    """

    def look(name: str) -> File:
        path = folder / name
        return File(name, path.stat().st_size, digest_of(path, cancelled=cancelled, read=read, flush=True))

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="digest") as pool:
        return Manifest(tuple(pool.map(look, files_of(folder))))


def digest_of(
    path: Path,
    *,
    cancelled: threading.Event | None,
    read: Callable[[int], None] = lambda _: None,
    flush: bool = False,
) -> str:
    """SHA-256 of a file, in hex digits."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        if flush:
            os.fsync(file.fileno())
        while chunk := file.read(_CHUNK):
            check(cancelled)
            digest.update(chunk)
            read(len(chunk))
    return digest.hexdigest()
