"""Versions of a dataset: a folder that never changes once it is there.

The version is the beginning of the digest, and the digest stands for the records alone: which of them are in
which part. The same records make the same version, whatever the order or the names of the files they lay in.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from slipway.training.errors import DataError
from slipway.training.records import Record
from slipway.training.workspaces import Workspace

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
MANIFEST = "manifest.json"
REPORT = "report.html"
_LENGTH = 16
"""Hexadecimal digits of the digest that name a version."""
_BATCH = 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class File(_Model):
    """One file of a version."""

    path: Annotated[str, StringConstraints(pattern=r"^[a-z]+-[0-9]+\.parquet$")]
    rows: int
    size: int
    sha256: str


class PartManifest(_Model):
    """One part of a version."""

    rows: int = 0
    augmented: int = 0
    """Of them made by augmentation."""
    repeated: int = 0
    """Of them taken more than once, for the weight of their source."""
    digest: str = ""
    """SHA-256 over the sorted digests of its records."""
    labels: dict[str, int] = Field(default_factory=dict)
    files: list[File] = Field(default_factory=list)


class SourceManifest(_Model):
    """Where records came from."""

    name: str
    address: str
    resolved: str
    digest: str
    format: str
    weight: str
    licence: str | None = None
    files: int
    empty_files: list[str] = Field(default_factory=list)
    bytes: int
    read: int
    """Records and broken lines that were met."""
    kept: int
    """Records that are in a part, each counted once."""


class Example(_Model):
    """One of the records that were dropped."""

    source: str
    place: str
    detail: str
    excerpt: str


class Dropped(_Model):
    """The records that one reason cost."""

    reason: str
    count: int = 0
    examples: list[Example] = Field(default_factory=list)


class Manifest(_Model):
    """What a version holds, and how it came to be."""

    schema_version: Literal[1] = 1
    name: str
    version: str
    digest: str
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    format: str
    inputs: str
    """Digest of the sources, the steps with their options, the split and the code."""
    code: dict[str, str]
    """Version of Slipway, digest of its preparation's code, versions of the libraries."""
    sources: list[SourceManifest]
    preparation: list[dict[str, Any]]
    augmentation: list[dict[str, Any]]
    split: dict[str, Any]
    parts: dict[Part, PartManifest]
    dropped: list[Dropped]
    dropped_files: list[File] = Field(default_factory=list)
    changed: dict[str, int]
    """Records that a step changed, by what it did."""
    statistics: dict[str, Any] = Field(default_factory=dict)
    """Further counts: languages, duplicates, characters."""


def digest_of(parts: dict[Part, PartManifest]) -> str:
    """The digest of a version with these parts."""
    lines = "".join(f"{name} {parts[name].rows} {parts[name].digest}\n" for name in PARTS if name in parts)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def version_of(digest: str) -> str:
    """The name of the version with a digest."""
    return digest.removeprefix("sha256:")[:_LENGTH]


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """One version, opened for reading."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, workspace: Workspace, reference: str) -> "DatasetVersion":
        """Open `NAME/VERSION`; `NAME` alone is its newest version, and a version's beginning is enough.

        Raises:
            DataError: there is none, or its manifest cannot be read.
        """
        name, _, version = reference.partition("/")
        found = [each for each in versions(workspace, name) if each.manifest.version.startswith(version)]
        if version and len(found) > 1:
            raise DataError(f"{reference} is the beginning of several versions: write more of it.")
        if not found:
            known = ", ".join(each.reference for each in versions(workspace)[-8:])
            raise DataError(
                f"There is no dataset {reference} in {workspace.root}"
                + (f"; there are {known}." if known else "; make one with `slipway data prepare`."),
                "DatasetMissing",
            )
        return found[-1]

    @classmethod
    def read(cls, folder: Path) -> "DatasetVersion":
        """Open the version in a folder.

        Raises:
            DataError: its manifest cannot be read.
        """
        try:
            return cls(folder, Manifest.model_validate_json((folder / MANIFEST).read_bytes()))
        except (OSError, ValidationError) as error:
            raise DataError(
                f"{folder / MANIFEST} cannot be read ({error}); prepare the data anew."
            ) from error

    @property
    def reference(self) -> str:
        """`NAME/VERSION`."""
        return f"{self.manifest.name}/{self.manifest.version}"

    @property
    def digest(self) -> str:
        """`sha256:…` over its records."""
        return self.manifest.digest

    @property
    def report(self) -> Path:
        """The exploration report, where it was written."""
        return self.folder / REPORT

    def count(self, part: Part) -> int:
        """Rows of a part."""
        return self.manifest.parts[part].rows

    def files(self, part: Part) -> list[Path]:
        """Parquet files of a part, in order."""
        return [self.folder / file.path for file in self.manifest.parts[part].files]

    def rows(self, part: Part, columns: Sequence[str] | None = None) -> Iterator[Record]:
        """The records of a part, streamed."""
        return cast("Iterator[Record]", _rows(self.files(part), columns))

    def dropped(self) -> Iterator[dict[str, Any]]:
        """What is in no part: source, place, reason, detail, excerpt; streamed."""
        return _rows([self.folder / file.path for file in self.manifest.dropped_files], None)


def versions(workspace: Workspace, name: str | None = None) -> list[DatasetVersion]:
    """All versions, of one dataset or of all, the newest last.

    Raises:
        DataError: a manifest cannot be read.
    """
    if name is not None and not _NAME.fullmatch(name):
        raise DataError(f"{name!r} is no name of a dataset.", "DatasetMissing")
    pattern = f"{'*' if name is None else name}/*/{MANIFEST}"
    found = [DatasetVersion.read(path.parent) for path in workspace.datasets.glob(pattern)]
    return sorted(found, key=lambda each: (each.manifest.created_at, each.reference))


def damage(version: DatasetVersion) -> list[str]:
    """What is wrong with a version: sentences, none where every file is as it was written."""
    manifest = version.manifest
    faults = []
    if manifest.digest != digest_of(manifest.parts) or manifest.version != version_of(manifest.digest):
        faults.append(f"{MANIFEST} does not match its own digest.")
    files = [file for part in manifest.parts.values() for file in part.files] + manifest.dropped_files
    for file in files:
        path = version.folder / file.path
        if not path.is_file():
            faults.append(f"{file.path} is missing.")
        elif path.stat().st_size != file.size:
            faults.append(f"{file.path} has {path.stat().st_size} bytes instead of {file.size}.")
        elif sha256_of(path) != file.sha256:
            faults.append(f"{file.path} holds other bytes than were written.")
    known = {file.path for file in files} | {MANIFEST, REPORT}
    strangers = sorted(path.name for path in version.folder.glob("*.parquet") if path.name not in known)
    return faults + [f"{name} does not belong to it." for name in strangers]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _rows(files: Sequence[Path], columns: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH, columns=list(columns) if columns else None):
                for row in batch.to_pylist():
                    if row.get("slices") is not None:
                        row["slices"] = dict(row["slices"])
                    yield row
