"""The registry on disk: versions that are whole or not there, and never change.

REGISTRY/NAME/VERSION/record.json    what is known of it (`records`)
REGISTRY/NAME/VERSION/README.md      its model card
REGISTRY/NAME/VERSION/…              safetensors, configuration, tokenizer
REGISTRY/NAME/stages.json            how its versions stand (`stages`)
REGISTRY/.lock, REGISTRY/.scratch/   held while something changes; what is not finished

A version is copied, hashed as it is copied, checked, and renamed into its place. Renaming
onto a folder with files fails, so that of two processes that claim one number one takes the next.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from slipway.sources.cache import flush
from slipway.training.errors import RegistryError
from slipway.training.registry import stages
from slipway.training.registry.artifacts import CARD, RECORD, check_contents, names_of
from slipway.training.registry.records import (
    Draft,
    FileRecord,
    Record,
    check_name,
    check_reference,
    manifest_of,
    number,
    read_record,
    split_reference,
)
from slipway.training.registry.stages import Standing, Standings
from slipway.training.workspaces import Workspace

_CHUNK = 1 << 20
_LARGEST_RECORD = 64 << 20
_ATTEMPTS = 1000
_PASSING = {"created_at", "code", "energy"}
"""What may differ where a version is registered again."""
SCRATCH = ".scratch"

Card = Callable[[Draft, str, tuple[FileRecord, ...]], str]
"""Writes the model card: of what is known, the version, and its files but the card."""


@dataclass(frozen=True, slots=True)
class Registry:
    """A folder of versions."""

    root: Path

    @classmethod
    def of(cls, workspace: Workspace) -> "Registry":
        """A workspace's own."""
        return cls(workspace.registry)

    def names(self) -> list[str]:
        """What there are versions of, sorted."""
        folders = [path.name for path in self._folders(self.root) if not path.name.startswith(".")]
        return sorted(name for name in folders if self.versions(name))

    def versions(self, name: str) -> list[str]:
        """The versions of a name, oldest first."""
        found = []
        for path in self._folders(self.root / check_name(name)):
            try:
                check_reference(name, path.name)
            except RegistryError:
                continue
            found.append(path.name)
        return sorted(found, key=number)

    def records(self) -> Iterator[Record]:
        """Every version's record."""
        for name in self.names():
            for version in self.versions(name):
                yield self.record(name, version)

    def folder(self, name: str, version: str) -> Path:
        """Where a version lies. Raises RegistryError for what is no name and version."""
        check_reference(name, version)
        return self.root / name / version

    def record(self, name: str, version: str) -> Record:
        """What is known of a version. Raises RegistryError if it is not there, or its record is damaged."""
        path = self.folder(name, version) / RECORD
        if any(each.is_symlink() for each in (path, path.parent, path.parent.parent)):
            raise RegistryError(
                f"{path} is reached by a link, which the registry makes none of.", "BadRecord"
            )
        try:
            with path.open("rb") as file:
                data = file.read(_LARGEST_RECORD + 1)
        except OSError as error:
            known = ", ".join(self.versions(name)) or "none"
            raise RegistryError(
                f"There is no {name}/{version} in {self.root}; versions of {name}: {known}.", "NotFound"
            ) from error
        if len(data) > _LARGEST_RECORD:
            raise RegistryError(f"{path} has more than {_LARGEST_RECORD >> 20} MiB.", "BadRecord")
        record = read_record(data, str(path))
        if (record.name, record.version) != (name, version):
            raise RegistryError(f"{path} is the record of {record.reference}.", "BadRecord")
        return record

    def standing(self, name: str, version: str) -> Standing:
        """How a version stands; a candidate where nothing was said of it."""
        return stages.read(self.root / check_name(name)).versions.get(version, Standing(note=""))

    def newest(self, name: str) -> str:
        """The promoted version, or the newest if none is. Raises RegistryError if there is none."""
        standings = stages.read(self.root / check_name(name)).versions
        versions = self.versions(name)
        for version in reversed(versions):
            if version in standings and standings[version].stage == "promoted":
                return version
        if not versions:
            known = ", ".join(self.names()[:10]) or "none"
            raise RegistryError(
                f"There is no version of {name!r}; there are versions of: {known}.", "NotFound"
            )
        return versions[-1]

    def promote(self, name: str, version: str, note: str = "") -> str | None:
        """Make a version the one that is to be used; the one before is retired, and returned."""
        with self._changing(name, version) as standings:
            return standings.promote(version, note)

    def retire(self, name: str, version: str, note: str = "") -> None:
        """Say that a version is not to be used any more."""
        with self._changing(name, version) as standings:
            standings.retire(version, note)

    def register(self, draft: Draft, artifact: Path, card: Card) -> Record:
        """Make the next version of a copy of `artifact`; one that is there already is returned as it is.

        Raises:
            RegistryError: it holds what no artifact may, or was made of a version that is not there.
        """
        names = names_of(artifact)
        with self.scratch() as scratch:
            content = scratch / "version"
            files = tuple(_copied(artifact / name, content / name, name) for name in names)
            check_contents(content, names)
            _settle(content)

            def finish(version: str) -> Record:
                text = card(draft, version, files).encode()
                _write(content / CARD, text)
                about = FileRecord(path=CARD, size=len(text), sha256=hashlib.sha256(text).hexdigest())
                every = tuple(sorted((*files, about), key=lambda file: file.path))
                return Record(**dict(draft), version=version, digest=manifest_of(every).digest, files=every)

            with stages.changing(self.root / check_name(draft.name)) as standings:
                for parent in draft.parents:
                    self.record(*split_reference(parent))
                if (known := self._known(draft, files)) is not None:
                    return known
                record = self._claim(draft.name, content, finish, standings)
                standings.versions[record.version] = Standing()
                return record

    def adopt(self, record: Record, content: Path) -> Record:
        """Take a version that came from elsewhere, under its own number. `content` is moved.

        Raises:
            RegistryError: it holds what no artifact may, is not what its record says, or another version has
                its number here.
        """
        if faults := self.faults(record, content):
            raise RegistryError(f"{record.reference} is not taken: {faults[0]}", "WrongDigest")
        _write(content / RECORD, record.model_dump_json(indent=1).encode())
        _settle(content)
        with stages.changing(self.root / record.name) as standings:
            if record.version in standings.removed:
                standings.removed.remove(record.version)
            if not self._renamed(content, record.name, record.version):
                here = self.record(record.name, record.version)
                if here.digest != record.digest:
                    raise RegistryError(
                        f"Another {record.reference} is here: {here.digest} and not {record.digest}.",
                        "Exists",
                    )
                return here
            standings.versions.setdefault(record.version, Standing())
        return record

    def faults(self, record: Record, content: Path) -> list[str]:
        """What a folder has that its record does not say; every byte is read."""
        try:
            names = names_of_version(content)
            check_contents(content, [name for name in names if name != CARD])
        except RegistryError as error:
            return [str(error)]
        promised = {file.path: file for file in record.files}
        faults = [f"{name} is there and not in the record." for name in names if name not in promised]
        for name, file in promised.items():
            if name not in names:
                faults.append(f"{name} is missing.")
                continue
            found = _hashed(content / name, name)
            if found != file:
                faults.append(
                    f"{name} has {found.size} bytes with SHA-256 {found.sha256} instead of {file.size} with"
                    f" {file.sha256}."
                )
        return faults

    def verify(self, name: str, version: str) -> list[str]:
        """What is wrong with a version; nothing, if all is well. Every byte is read."""
        try:
            record = self.record(name, version)
        except RegistryError as error:
            if error.reason == "NotFound":
                raise
            return [str(error)]
        return self.faults(record, self.folder(name, version))

    def remove(self, name: str, version: str) -> None:
        """Take a version away; the caller holds the registry (`stages.changing`) and notes it there."""
        with self.scratch() as scratch:
            # Renamed first: nobody sees half of a version, and who reads it keeps the open files.
            self.folder(name, version).rename(scratch / "removed")

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A new folder on the registry's file system; what is not renamed away is removed."""
        parent = self.root / SCRATCH
        parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    def _known(self, draft: Draft, files: tuple[FileRecord, ...]) -> Record | None:
        """The newest version, if it is this one: the same files, of the same data, found as good."""
        versions = self.versions(draft.name)
        if not versions:
            return None
        newest = self.record(draft.name, versions[-1])
        same = draft.model_dump(exclude=_PASSING) == newest.model_dump(
            include=set(Draft.model_fields) - _PASSING
        )
        return newest if same and {*newest.files} - {*files} == {newest.card} else None

    def _claim(
        self, name: str, content: Path, finish: Callable[[str], Record], standings: Standings
    ) -> Record:
        taken = {*self.versions(name), *standings.versions, *standings.removed}
        first = max(map(number, taken), default=0) + 1
        for at in range(first, first + _ATTEMPTS):
            record = finish(f"v{at}")
            _write(content / RECORD, record.model_dump_json(indent=1).encode())
            if self._renamed(content, name, record.version):
                return record
        raise RegistryError(f"No number was free for a new version of {name}.")

    @contextmanager
    def _changing(self, name: str, version: str) -> Iterator[Standings]:
        self.record(name, version)
        with stages.changing(self.root / name) as standings:
            self.record(name, version)  # It may have been collected meanwhile.
            yield standings

    def _renamed(self, content: Path, name: str, version: str) -> bool:
        """Put a whole folder into its place; False if something is there already."""
        for path in (content / CARD, content / RECORD):
            path.chmod(0o444)
            flush(path)
        flush(content)
        try:
            content.rename(self.folder(name, version))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            return False
        flush(self.root / name)
        return True

    @staticmethod
    def _folders(root: Path) -> list[Path]:
        try:
            with os.scandir(root) as entries:
                return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []


def names_of_version(content: Path) -> list[str]:
    """The files of a version's folder but its record, the card among them. Raises RegistryError."""
    names = names_of(content, without=(RECORD,))
    return sorted([*names, CARD]) if (content / CARD).is_file() else names


def _settle(content: Path) -> None:
    """Have the disk hold a folder's files, and nobody write to them."""
    for path in sorted(content.rglob("*"), reverse=True):
        if path.is_file():
            path.chmod(0o444)
        flush(path)


def _copied(source: Path, target: Path, name: str) -> FileRecord:
    """Copy a file and hash what was copied, in one pass."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    # O_NOFOLLOW: it was a plain file when the folder was looked at.
    with os.fdopen(os.open(source, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file, target.open("xb") as copy:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            copy.write(chunk)
            size += len(chunk)
    return FileRecord(path=name, size=size, sha256=digest.hexdigest())


def _hashed(path: Path, name: str) -> FileRecord:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return FileRecord(path=name, size=file.tell(), sha256=digest.hexdigest())


def _write(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data)
