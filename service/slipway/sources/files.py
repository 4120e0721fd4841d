"""Models that lie on this machine already. A folder is used where it is, never copied."""

import hashlib
from pathlib import Path

from slipway.sources.addresses import FileAddress
from slipway.sources.errors import AccessDeniedError, NotAModelError, SourceNotFoundError
from slipway.sources.manifests import files_of
from slipway.sources.origins import Job
from slipway.sources.weights import select, verify


class FileOrigin:
    """A `.gguf` file: read in place, its conversion is cached until size, time or inode differ."""

    def __init__(self, address: FileAddress) -> None:
        self._address = address

    def resolve(self, job: Job) -> str:
        stat = require(self._address.path).stat()
        if not self._address.path.is_file():
            raise NotAModelError(f"{self._address.path} is no file.")
        return f"{self._address}?size={stat.st_size}&mtime_ns={stat.st_mtime_ns}&inode={stat.st_ino}"

    def resolve_offline(self) -> str | None:
        return None

    def download(self, folder: Path, job: Job) -> Path:
        return self._address.path


def look(folder: Path) -> str:
    """Check that `folder` holds a model that can be loaded without unpickling; return its digest.

    The digest is SHA-256 over the names, sizes and modification times of its files, because the files may be
    hundreds of gigabytes: it changes when a file is written, and may change when a folder is copied.
    """
    require(folder)
    names = files_of(folder)
    select(names, str(folder))
    verify(folder)
    digest = hashlib.sha256()
    for name in names:
        stat = (folder / name).stat()
        digest.update(f"{stat.st_size} {stat.st_mtime_ns} {name}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def require(path: Path) -> Path:
    """`path`, if it can be looked at."""
    try:
        path.stat()
        if path.is_dir():
            next(path.iterdir(), None)
    except PermissionError as error:
        raise AccessDeniedError(f"{path} may not be read by this user: change its owner or mode.") from error
    except OSError as error:
        raise SourceNotFoundError(
            f"{path} does not exist on this machine. Check the path, on a cluster also the volume."
        ) from error
    return path
