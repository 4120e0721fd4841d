"""The part of a registry that changes: which version of a name is a candidate, promoted or retired.

NAME/stages.json    {"versions": {"v1": {"stage", "since", "note"}}, "removed": ["v2", …]}

It is replaced as a whole, by who holds the registry's lock: a promotion and the retirement of the version
before it are one step, and so are a look at what is in use and the removal of what is not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slipway.sources import locks
from slipway.training.errors import RegistryError
from slipway.training.registry.records import Stage
from slipway.training.runs import write_atomically

FILE = "stages.json"


class Standing(BaseModel):
    """How a version stands."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    stage: Stage = "candidate"
    since: datetime = Field(default_factory=lambda: datetime.now(UTC))
    """When it came to stand so."""
    note: str = ""
    """Why, in words."""


class Standings(BaseModel):
    """How the versions of a name stand."""

    model_config = ConfigDict(extra="ignore")

    versions: dict[str, Standing] = Field(default_factory=dict)
    """By version."""
    removed: list[str] = Field(default_factory=list)
    """Versions that were collected; their numbers are not given again."""

    def promote(self, version: str, note: str = "") -> str | None:
        """Make it the one that is to be used; the one before is retired, and returned."""
        before = next((name for name, at in self.versions.items() if at.stage == "promoted"), None)
        if before == version:
            return None
        if before is not None:
            self.versions[before] = Standing(stage="retired", note=f"{version} took its place")
        self.versions[version] = Standing(stage="promoted", note=note)
        return before

    def retire(self, version: str, note: str = "") -> None:
        """Say that it is not to be used any more."""
        self.versions[version] = Standing(stage="retired", note=note)

    def forget(self, version: str) -> None:
        """Its files are gone."""
        self.versions.pop(version, None)
        self.removed.append(version)


def read(folder: Path) -> Standings:
    """How the versions in NAME's folder stand. Raises RegistryError if the file cannot be read."""
    path = folder / FILE
    try:
        return Standings.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Standings()
    except ValidationError as error:
        raise RegistryError(
            f"{path} cannot be read ({error.error_count()} faults): mend or remove it."
        ) from error


@contextmanager
def changing(folder: Path) -> Iterator[Standings]:
    """Hold the registry alone, change how the versions in NAME's folder stand, and write that down.

    Nothing is written if something is raised.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locks.hold(folder.parent / ".lock", lambda _: None, None):
        standings = read(folder)
        yield standings
        write_atomically(folder / FILE, standings.model_dump_json(indent=1))
