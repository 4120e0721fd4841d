"""Where a job's FineTune is: in the state folder of a local run, or in a namespace of a cluster."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from slipway.gateway.finetuning.reports import StageReport
from slipway.gateway.finetuning.store import Job
from slipway.objects import FineTuneStatus

Content = Callable[[], AsyncIterator[bytes]]
"""Reads the examples of a file, as they are handed on."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a run has written of itself, where it can be read."""

    events: list[dict[str, Any]] = field(default_factory=list)
    """`{"at", "level", "message"}`, the oldest first."""
    metrics: list[dict[str, Any]] = field(default_factory=list)
    """`{"at", "step", "loss", …}`, the oldest first."""


class AwayError(Exception):
    """What keeps FineTunes does not answer now, or will not; the message says what is the matter."""


class FineTunes(Protocol):
    """Makes FineTunes and follows them. Everything can be done again without harm.

    Every method may raise AwayError or OSError.
    """

    @property
    def namespace(self) -> str:
        """Whose services can be tuned; "" where there are no namespaces."""
        ...

    async def make(self, row: Job, parts: Mapping[str, Content]) -> None:
        """Make the job's FineTune; `parts` has the examples of its `training` and `validation`."""
        ...

    async def steer(self, row: Job) -> None:
        """Have it run, pause or end, as the job wants it."""
        ...

    async def observe(self, row: Job) -> FineTuneStatus | None:
        """How it stands; None where there is none (any more)."""
        ...

    async def record(self, row: Job) -> Record:
        """What its run has written."""
        ...

    async def reports(self, row: Job) -> list[StageReport]:
        """What its stages have written for people, where that can be read."""
        ...

    async def tidy(self, row: Job) -> None:
        """Nobody needs its examples any more."""
        ...

    async def close(self) -> None:
        """Nothing more will be asked."""
        ...
