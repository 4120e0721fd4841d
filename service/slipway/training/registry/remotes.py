"""Copies of versions elsewhere: `s3://bucket/prefix`, or `file:///folder`, a registry like any other.

PLACE/NAME/VERSION/…                 the files, record.json last: a copy without it is not there yet
PLACE/NAME/VERSION.claim             whose digest the copy will have, made before the first file

What is pulled is read within the bounds of its record, hashed, and checked as an artifact of a stranger.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

from slipway.training.errors import RegistryError
from slipway.training.registry.artifacts import RECORD, check_names
from slipway.training.registry.records import Record, check_name, check_reference, number, read_record
from slipway.training.registry.store import Registry

_CHUNK = 8 << 20
_LARGEST_RECORD = 64 << 20


class Remote(Protocol):
    """A place where copies lie."""

    def versions(self, name: str) -> list[str]:
        """The versions of a name that are whole there, oldest first."""

    def record(self, name: str, version: str) -> Record:
        """What is known of a version. Raises RegistryError if it is not there."""

    def push(self, registry: Registry, record: Record) -> None:
        """Copy a version there. Raises RegistryError if another one has its number."""

    def read(self, record: Record, path: str) -> Iterator[bytes]:
        """A file of a version, in pieces."""


def remote(place: str) -> Remote:
    """Who reads and writes a place. Raises RegistryError if it is none."""
    scheme, _, rest = place.partition("://")
    if scheme == "file" and rest.startswith("/") and "\0" not in rest:
        return _Folder(Registry(Path(unquote(rest))))
    if scheme == "s3" and rest.strip("/"):
        return _Bucket(rest.strip("/"))
    raise RegistryError(
        f"{place!r} is no place for copies: write s3://bucket/prefix or file:///folder.", "BadPlace"
    )


def push(registry: Registry, record: Record, place: str) -> str:
    """Copy a version to a place; returns where it lies there.

    Raises:
        RegistryError: the place cannot be written, or has another version of this number.
    """
    if faults := registry.verify(record.name, record.version):
        raise RegistryError(f"{record.reference} is damaged and not copied: {faults[0]}", "WrongDigest")
    remote(place).push(registry, record)
    return f"{place.rstrip('/')}/{record.reference}"


def pull(
    registry: Registry, place: str, name: str, version: str | None = None, digest: str | None = None
) -> Record:
    """Take a version from a place; the newest whole one there if none is named.

    Args:
        digest: what it must be; whatever its record says if None.

    Raises:
        RegistryError: it is not there, not what its record says, or holds what no artifact may.
    """
    there = remote(place)
    if version is None:
        versions = there.versions(check_name(name))
        if not versions:
            raise RegistryError(f"{place} has no version of {name}.", "NotFound")
        version = versions[-1]
    check_reference(name, version)
    record = there.record(name, version)
    if digest not in (None, record.digest):
        raise RegistryError(
            f"{record.reference} at {place} is {record.digest} and not {digest}: it is not taken.",
            "WrongDigest",
        )
    names = [file.path for file in record.files]
    check_names(names, f"{place}/{record.reference}")
    with registry.scratch() as scratch:
        content = scratch / "version"
        for file in record.files:
            target = content / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(target, there.read(record, file.path), file.size)
        return registry.adopt(record, content)


def _write(target: Path, pieces: Iterator[bytes], most: int) -> None:
    written = 0
    with target.open("xb") as file:
        for piece in pieces:
            written += len(piece)
            if written > most:
                raise RegistryError(f"{target.name} is longer than its record says.", "WrongDigest")
            file.write(piece)


@dataclass(frozen=True, slots=True)
class _Folder:
    registry: Registry

    def versions(self, name: str) -> list[str]:
        return self.registry.versions(name)

    def record(self, name: str, version: str) -> Record:
        return self.registry.record(name, version)

    def push(self, registry: Registry, record: Record) -> None:
        folder = registry.folder(record.name, record.version)
        with self.registry.scratch() as scratch:
            content = scratch / "version"
            for file in record.files:
                target = content / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                _write(target, _pieces(folder / file.path), file.size)
            self.registry.adopt(record, content)

    def read(self, record: Record, path: str) -> Iterator[bytes]:
        return _pieces(self.registry.folder(record.name, record.version) / path)


class _Bucket:
    def __init__(self, prefix: str) -> None:
        try:
            import s3fs
        except ImportError as error:
            raise RegistryError(
                "s3:// needs the training packages: let SLIPWAY_TRAINING_PYTHON name a Python that has them.",
                "MissingPackages",
            ) from error
        self._prefix = prefix
        # Instances and listings are cached by default, across calls.
        self._files: Any = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)

    def versions(self, name: str) -> list[str]:
        found = []
        for path in self._asked(self._files.glob, f"{self._prefix}/{name}/*/{RECORD}"):
            version = path.split("/")[-2]
            try:
                check_reference(name, version)
            except RegistryError:
                continue
            found.append(version)
        return sorted(found, key=number)

    def record(self, name: str, version: str) -> Record:
        path = f"{self._prefix}/{name}/{version}/{RECORD}"
        data = self._asked(self._files.cat_file, path, end=_LARGEST_RECORD + 1)
        if len(data) > _LARGEST_RECORD:
            raise RegistryError(f"s3://{path} has more than {_LARGEST_RECORD >> 20} MiB.", "BadRecord")
        record = read_record(data, f"s3://{path}")
        if (record.name, record.version) != (name, version):
            raise RegistryError(f"s3://{path} is the record of {record.reference}.", "BadRecord")
        return record

    def push(self, registry: Registry, record: Record) -> None:
        root, folder = f"{self._prefix}/{record.reference}", registry.folder(record.name, record.version)
        if not self._created(f"{root}.claim", record.digest.encode()):
            taken = self._asked(self._files.cat_file, f"{root}.claim").decode(errors="replace")
            if taken != record.digest:
                raise RegistryError(
                    f"s3://{root} is another {record.reference}: {taken[:80]} and not {record.digest}.",
                    "Exists",
                )
        for file in record.files:
            self._asked(self._files.put_file, str(folder / file.path), f"{root}/{file.path}")
        self._asked(self._files.put_file, str(folder / RECORD), f"{root}/{RECORD}")

    def read(self, record: Record, path: str) -> Iterator[bytes]:
        place = f"{self._prefix}/{record.reference}/{path}"
        with self._asked(self._files.open, place, "rb", block_size=_CHUNK, cache_type="readahead") as file:
            while piece := self._asked(lambda _: file.read(_CHUNK), place):
                yield piece

    def _created(self, path: str, data: bytes) -> bool:
        """Make an object unless it is there; of two at once one does."""
        try:
            self._asked(self._files.pipe_file, path, data, mode="create")
        except RegistryError as error:
            if error.reason == "Exists":
                return False
            raise
        return True

    def _asked(self, call: Any, path: str, *args: Any, **kwargs: Any) -> Any:
        """What the bucket answers; its refusals as sentences."""
        try:
            return call(path, *args, **kwargs)
        except FileExistsError as error:
            raise RegistryError(f"s3://{path} is there already.", "Exists") from error
        except FileNotFoundError as error:
            raise RegistryError(
                f"s3://{self._prefix} does not hold {path}: check bucket, prefix and AWS_ENDPOINT_URL.",
                "NotFound",
            ) from error
        except PermissionError as error:
            raise RegistryError(
                f"s3://{self._prefix} is refused: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or"
                " AWS_PROFILE.",
                "AccessDenied",
            ) from error
        except Exception as error:
            if "PreconditionFailed" in str(error) or "ConditionalRequestConflict" in str(error):
                raise RegistryError(f"s3://{path} is there already.", "Exists") from error
            raise RegistryError(
                f"s3://{self._prefix} cannot be reached ({type(error).__name__}: {error}). Check the network,"
                " AWS_REGION and AWS_ENDPOINT_URL.",
                "Unreachable",
            ) from error


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece
