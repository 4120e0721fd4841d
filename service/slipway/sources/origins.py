"""What every kind of source has in common."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from slipway.sources.progress import Progress, Report


@dataclass(frozen=True)
class Job:
    """One fetch: whom it tells, how it is stopped, how patient it is."""

    report: Report
    cancelled: threading.Event | None
    require: Callable[[int], None]
    """Raises DiskFullError unless that many more bytes fit."""
    retry_wait_s: float = 1.0
    """Before the second attempt; doubled for each further one."""

    def say(self, message: str) -> None:
        """Report a stage that cannot be counted."""
        self.report(Progress("resolve", message=message))


class Origin(Protocol):
    """Where a model comes from."""

    def resolve(self, job: Job) -> str:
        """Ask the origin what the address means now; return the pinned form of it.

        Raises:
            UnreachableError: it cannot be asked; an earlier answer will do.
            SourceError: it was asked, and the answer is no.
        """

    def resolve_offline(self) -> str | None:
        """The pinned form of what another cache holds; asked where `resolve` reached nobody."""

    def download(self, folder: Path, job: Job) -> Path:
        """Go on with what `folder` holds of an earlier attempt; return the model, complete and verified.

        Returns:
            A folder that holds the model's files and nothing else, or a `.gguf` file.
        """
