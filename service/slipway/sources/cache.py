"""The cache of models: content-addressed, shared by processes, never seen half-written.

sha256-DIGEST/        one model, complete: its files and slipway-manifest.json
sources/KEY.json      which model a source (or its pinned form) was last
partial/KEY/          what a running or broken-off fetch has so far
locks/KEY             held while a source is fetched

A model is put together in `partial/`, verified, flushed to disk and then published by one rename.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from slipway.sources import locks, manifests
from slipway.sources.errors import CacheError, DiskFullError
from slipway.sources.manifests import Manifest

log = logging.getLogger(__name__)

_MARGIN = 64 << 20
"""Bytes that a fetch leaves free."""


_KEPT_S = 14 * 24 * 3600.0
"""How long a broken-off fetch waits for its next attempt."""


def default_root(environment: Mapping[str, str] = os.environ) -> Path:
    """`$SLIPWAY_CACHE/models`, or `models` in slipway's folder of the user's cache."""
    if root := environment.get("SLIPWAY_CACHE"):
        return Path(root).expanduser() / "models"
    home = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "slipway" / "models"


def free_space(folder: Path) -> int:
    """Bytes free for this user where `folder` is."""
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class Entry:
    """A model in the cache, and where it came from."""

    source: str
    resolved: str
    digest: str
    path: Path


class Cache:
    """A folder of models.

    Args:
        root: made if missing.
        free: bytes free at a path; tests hand in another one.
    """

    def __init__(self, root: Path, *, free: Callable[[Path], int] = free_space) -> None:
        self.root = root.absolute()
        self._free = free
        try:
            for name in ("sources", "partial", "locks"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.root).close()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self.full(None) from error
            raise CacheError(
                f"The cache of models in {self.root} cannot be written ({error.strerror}): change its owner "
                "or mode, or set SLIPWAY_CACHE to another folder."
            ) from error

    def lock_path(self, key: str) -> Path:
        return self.root / "locks" / _name(key)

    def partial(self, key: str) -> Path:
        """The folder where `key` is put together, made if missing."""
        folder = self.root / "partial" / _name(key)
        folder.mkdir(exist_ok=True)
        return folder

    def lookup(self, key: str) -> Entry | None:
        """The complete model that `key` last was; None where there is none, or it was damaged since."""
        return self._lookup(_name(key))

    def _lookup(self, name: str) -> Entry | None:
        try:
            pointer = json.loads((self.root / "sources" / f"{name}.json").read_text())
            source, resolved, digest = (str(pointer[field]) for field in ("source", "resolved", "digest"))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        path = self._path(digest)
        if not path.is_dir():
            return None
        try:
            manifest = Manifest.load(path)
            damage = manifest.damage(path) if manifest.digest == digest else f"it is {manifest.digest}"
        except ValueError as error:
            damage = str(error)
        if damage:
            log.warning("The cached model at %s is damaged (%s); it is fetched again.", path, damage)
            return None
        return Entry(source, resolved, digest, path)

    def remember(self, key: str, entry: Entry) -> None:
        """Let `key` mean `entry` from now on."""
        content = {name: value for name, value in asdict(entry).items() if name != "path"} | {"key": key}
        _replace(self.root / "sources" / f"{_name(key)}.json", json.dumps(content, indent=1) + "\n")

    def publish(self, folder: Path, manifest: Manifest) -> Path:
        """Move a complete, flushed `folder` to its place; the same files already there stay."""
        manifest.save(folder)
        for path in [folder / manifests.NAME, *(p for p in folder.rglob("*") if p.is_dir()), folder]:
            flush(path)
        target = self._path(manifest.digest)
        if target.exists() and _is_broken(target, manifest):
            # Renamed away first: engines that still read it keep their open files.
            discarded = tempfile.mkdtemp(dir=self.root / "partial", prefix="discarded-")
            target.rename(Path(discarded) / "model")
            shutil.rmtree(discarded, ignore_errors=True)
        try:
            folder.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            shutil.rmtree(folder)
        flush(self.root)
        return target

    def drop_partial(self, key: str) -> None:
        """Forget what a fetch has put together."""
        shutil.rmtree(self.root / "partial" / _name(key), ignore_errors=True)

    def tidy(self) -> None:
        """Remove what fetches have left that ended after they had published, or that nobody went on with."""
        for folder in (self.root / "partial").iterdir():
            name = folder.name
            with contextlib.suppress(OSError):
                if self._lookup(name) or time.time() - folder.stat().st_mtime > _KEPT_S:
                    with locks.holding(self.root / "locks" / name) as free:
                        if free:
                            shutil.rmtree(folder, ignore_errors=True)

    def require(self, size: int) -> None:
        """Check that `size` more bytes fit.

        Raises:
            DiskFullError: they do not.
        """
        free = self._free(self.root)
        if size + _MARGIN > free:
            raise self.full(size)

    def full(self, size: int | None) -> DiskFullError:
        """The error for a full disk that should have taken `size` bytes."""
        needs = f"The model needs {_gb(size + _MARGIN)} more" if size is not None else "The disk is full"
        return DiskFullError(
            f"{needs}, {_gb(self._free(self.root))} free in {self.root}; free some or set SLIPWAY_CACHE "
            "to a folder with more room. What was downloaded so far is kept."
        )

    @contextlib.contextmanager
    def telling_full_disk(self) -> Iterator[None]:
        """Turn a full disk, or a used-up quota, into DiskFullError."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise self.full(None) from error

    def _path(self, digest: str) -> Path:
        return self.root / digest.replace(":", "-")


def flush(path: Path) -> None:
    """Have the disk hold what was written to a file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(path: Path, content: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, 0o644)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    flush(path.parent)


def _is_broken(folder: Path, manifest: Manifest) -> bool:
    try:
        return Manifest.load(folder) != manifest or manifest.damage(folder) is not None
    except ValueError:
        return True


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"
