"""What the registry knows of a version: `record.json`, written once beside its files."""

import re
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slipway.sources.manifests import File, Manifest
from slipway.training.errors import RegistryError

_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,61}[a-z0-9])?")
_VERSION = re.compile(r"v[1-9][0-9]{0,8}")
SHA256 = r"^[0-9a-f]{64}$"
DIGEST = r"^sha256:[0-9a-f]{64}$"
Stage = Literal["candidate", "promoted", "retired"]


class Part(BaseModel):
    """A part of a record."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class FileRecord(Part):
    """One file of a version."""

    path: str = Field(max_length=1024)
    """Below the version's folder."""
    size: int = Field(ge=0)
    """Bytes."""
    sha256: str = Field(pattern=SHA256)
    """Of its content, in hex."""


class BaseModelRecord(Part):
    """The model that was tuned."""

    source: str
    """As the FineTune names it."""
    name: str
    """Its name in model cards."""
    resolved: str = ""
    """The pinned form of the source: a commit, a version, ETags."""
    digest: str = ""
    """`sha256:…` of its files; empty where it was not told."""
    licence: str = ""
    """SPDX identifier; empty where it is not known."""


class SourceRecord(Part):
    """One of the places that the data came from."""

    name: str
    """As the FineTune calls it."""
    source: str
    """Its address."""
    digest: str = ""
    """Of what was read there."""
    licence: str = ""
    """SPDX identifier; empty where it is not known."""


class DatasetRecord(Part):
    """The version of the data."""

    version: str
    """`NAME/VERSION`."""
    digest: str = ""
    """Of its manifest."""
    records: dict[str, int] = Field(default_factory=dict)
    """Rows of each part."""
    sources: tuple[SourceRecord, ...] = ()
    """Where they came from."""
    languages: tuple[str, ...] = ()
    """ISO 639-1 codes, the most frequent first."""


class CodeRecord(Part):
    """What it was made with."""

    slipway: str
    """Version of Slipway."""
    commit: str = ""
    """Of the source tree, where there is one."""
    packages: dict[str, str] = Field(default_factory=dict)
    """Versions of the libraries that shape the result."""
    python: str = ""
    """Version of Python."""
    machine: str = ""
    """Processor and devices."""


class EnergyRecord(Part):
    """What making it took, over all stages and attempts."""

    hours: float = 0.0
    """Wall-clock time."""
    cpu_hours: float = 0.0
    """Processor time, over all cores."""
    energy_kwh: float | None = None
    """Electricity, in kWh."""
    emissions_kg: float | None = None
    """Carbon dioxide equivalents, in kg."""
    method: str = ""
    """How energy and emissions were found, in words."""
    estimated: bool = True
    """Whether any of it is an estimate and not a meter's reading."""


class LicenceRecord(Part):
    """Under which terms it may be used."""

    id: str = "unknown"
    """SPDX identifier; `unknown`, or `other` where none can stand for base and data."""
    warnings: tuple[str, ...] = ()
    """What is unknown, or does not go together; sentences."""


class GateRecord(Part):
    """A gate of the evaluation."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    metric: str
    bound: str = ""
    value: float | None = None
    passed: bool = True


class EvaluationRecord(Part):
    """What the evaluation found on the test part."""

    metrics: dict[str, float | None] = Field(default_factory=dict)
    """By name; None for one that is not defined there."""
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Bootstrap intervals of the metrics."""
    base: dict[str, float | None] = Field(default_factory=dict)
    """The same metrics of the base model."""
    gates: tuple[GateRecord, ...] = ()
    """What it had to reach."""
    report: str = ""
    """Where the report lies, below the workspace."""


class Draft(Part):
    """All that is known before a version is claimed."""

    name: str
    """Of the FineTune, and of its versions here."""
    kind: Literal["adapter", "model"]
    """A LoRA adapter, or a whole model."""
    task: str = "generate"
    """generate, classify or tag."""
    method: str = ""
    """How it was tuned."""
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    """When it was registered."""
    base_model: BaseModelRecord
    """The model that was tuned."""
    dataset: DatasetRecord | None = None
    """The data that it learnt from; None of a merge of other versions."""
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    """Those that were used, found by the search or not."""
    training: dict[str, float | None] = Field(default_factory=dict)
    """What training reached, such as its last loss."""
    evaluation: EvaluationRecord = EvaluationRecord()
    """What the evaluation found."""
    code: CodeRecord
    """What it was made with."""
    energy: EnergyRecord = EnergyRecord()
    """What making it took."""
    licence: LicenceRecord = LicenceRecord()
    """Under which terms it may be used."""
    parents: tuple[str, ...] = ()
    """`NAME/VERSION` of the versions that it was made of, such as those of a merge."""
    fine_tune: dict[str, Any] = Field(default_factory=dict)
    """The FineTune as it was asked for."""


class Record(Draft):
    """One version, as it is kept."""

    format: Literal[1] = 1
    """Of this file."""
    version: str
    """`v1`, `v2` and so on."""
    digest: str = Field(pattern=DIGEST)
    """SHA-256 over the lines `SHA256 SIZE PATH` of its files, sorted by path; this record is none of them."""
    files: tuple[FileRecord, ...]
    """Its files, the model card among them, sorted by path."""

    @property
    def reference(self) -> str:
        """`NAME/VERSION`."""
        return f"{self.name}/{self.version}"

    @property
    def manifest(self) -> Manifest:
        """The list that the digest is taken over."""
        return manifest_of(self.files)

    @property
    def card(self) -> FileRecord | None:
        """Its model card among its files."""
        return next((file for file in self.files if file.path == "README.md"), None)

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.size for file in self.files)


def manifest_of(files: tuple[FileRecord, ...]) -> Manifest:
    """The list that a version's digest is taken over: the same as of a fetched model's."""
    return Manifest(tuple(File(*each) for each in sorted((f.path, f.size, f.sha256) for f in files)))


def read_record(data: bytes, where: str) -> Record:
    """Read a record and look whether it agrees with itself. Raises RegistryError."""
    try:
        record = Record.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise RegistryError(
            f"{where} is no record of a version: {place}: {first['msg']}.", "BadRecord"
        ) from error
    check_reference(record.name, record.version)
    if record.manifest.digest != record.digest:
        raise RegistryError(f"{where}: its list of files is not the digest that it names.", "WrongDigest")
    return record


def check_name(name: str) -> str:
    """`name`, if it is one. Raises RegistryError."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise RegistryError(
            f"{name!r} is no name in a registry: lower case letters, digits, - and ., at most 63.", "BadName"
        )
    return name


def check_reference(name: str, version: str) -> None:
    """Refuse what is no name and version. Raises RegistryError."""
    check_name(name)
    if not _VERSION.fullmatch(version):
        raise RegistryError(f"{version!r} is no version: they are v1, v2 and so on.", "BadName")


def split_reference(reference: str) -> tuple[str, str]:
    """Name and version of `NAME/VERSION`. Raises RegistryError."""
    name, _, version = reference.partition("/")
    check_reference(name, version)
    return name, version


def number(version: str) -> int:
    """1 of `v1`."""
    return int(version[1:])
