"""The folder in which everything of the training side lies: on a laptop or on a volume of a cluster.

WORKSPACE/
  datasets/NAME/VERSION/    manifest.json, train-00000.parquet, validation-…, test-…, report.html
  runs/NAME/                one FineTune's way: see `runs`
  registry/NAME/VERSION/    a finished artifact, never changed once it is there
  cache/                    what can be made again, at a price
  tmp/                      what is not finished; renamed into its place when it is
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

VARIABLE = "SLIPWAY_WORKSPACE"


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder's layout."""

    root: Path

    @classmethod
    def found(cls, given: str | None, environ: Mapping[str, str] = os.environ) -> "Workspace":
        """The one that was given, or that the environment names, or the user's own."""
        if given or environ.get(VARIABLE):
            return cls(Path(given or environ[VARIABLE]).expanduser().resolve())
        data = environ.get("XDG_DATA_HOME") or "~/.local/share"
        return cls((Path(data) / "slipway").expanduser())

    @property
    def datasets(self) -> Path:
        """Versions of data, by name."""
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        """FineTunes on their way, by name."""
        return self.root / "runs"

    @property
    def registry(self) -> Path:
        """Finished artifacts, by name and version."""
        return self.root / "registry"

    @property
    def cache(self) -> Path:
        """What can be made again, at a price."""
        return self.root / "cache"

    def run(self, name: str) -> Path:
        """The folder of one FineTune's way."""
        return self.runs / name

    @contextmanager
    def unfinished(self) -> Iterator[Path]:
        """A new folder on the same file system as the others; what is not renamed away is removed."""
        parent = self.root / "tmp"
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=parent))
        try:
            yield folder
        finally:
            rmtree(folder, ignore_errors=True)
