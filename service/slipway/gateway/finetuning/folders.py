"""FineTunes in the state folder of a local run, where its queue takes them up.

objects/finetune-JOB.yaml       the FineTune (JSON is YAML)
finetunes/JOB/training.jsonl    its examples, until it has ended well
finetunes/JOB/status.json       what the queue says: {"status": a FineTune's status, "run": the run's folder}
"""

import asyncio
import json
import os
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from slipway.gateway.finetuning.places import Content, Record
from slipway.gateway.finetuning.reports import StageReport, reports_of
from slipway.gateway.finetuning.specs import TRAINING, VALIDATION, fine_tune
from slipway.gateway.finetuning.store import Job
from slipway.objects import FineTuneStatus

MOST_LINES = 10_000
"""Lines of a run's events, and of its metrics, that are read: the last ones."""


class Report(BaseModel):
    """What the queue says of a FineTune."""

    status: FineTuneStatus = FineTuneStatus()
    run: Path | None = None


@dataclass(frozen=True, slots=True)
class FolderFineTunes:
    """FineTunes in a state folder."""

    state: Path
    namespace: str = ""

    async def make(self, row: Job, parts: Mapping[str, Content]) -> None:
        """See FineTunes.make."""
        folder = self._folder(row)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part, content in parts.items():
            await _write(folder / f"{part}.jsonl", content())
        await self.steer(row)

    async def steer(self, row: Job) -> None:
        """See FineTunes.steer."""
        parts = (TRAINING, VALIDATION) if row.validation_file is not None else (TRAINING,)
        made = fine_tune(
            row, {part: (self._folder(row) / f"{part}.jsonl").absolute().as_uri() for part in parts}
        )
        document = made.model_dump(mode="json", by_alias=True, exclude_unset=True)
        document["metadata"]["creationTimestamp"] = datetime.fromtimestamp(
            row.created_us / 1_000_000, UTC
        ).isoformat()
        head = {"apiVersion": made.api_version, "kind": made.kind}
        await asyncio.to_thread(_replace, self._object(row), json.dumps(head | document, indent=1))

    async def observe(self, row: Job) -> FineTuneStatus | None:
        """See FineTunes.observe."""
        report = await asyncio.to_thread(self._report, row)
        return None if report is None else report.status

    async def record(self, row: Job) -> Record:
        """See FineTunes.record."""
        report = await asyncio.to_thread(self._report, row)
        if report is None or report.run is None:
            return Record()
        return Record(
            await asyncio.to_thread(_lines, report.run / "events.jsonl"),
            await asyncio.to_thread(_lines, report.run / "metrics.jsonl"),
        )

    async def reports(self, row: Job) -> list[StageReport]:
        """See FineTunes.reports."""
        report = await asyncio.to_thread(self._report, row)
        if report is None or report.run is None:
            return []
        return await asyncio.to_thread(list, reports_of(report.run))

    async def tidy(self, row: Job) -> None:
        """See FineTunes.tidy."""
        for part in (TRAINING, VALIDATION):
            (self._folder(row) / f"{part}.jsonl").unlink(missing_ok=True)

    async def close(self) -> None:
        """See FineTunes.close."""

    def _folder(self, row: Job) -> Path:
        return self.state / "finetunes" / str(row.id)

    def _object(self, row: Job) -> Path:
        return self.state / "objects" / f"finetune-{row.id}.yaml"

    def _report(self, row: Job) -> Report | None:
        if not self._object(row).exists():
            return None
        try:
            return Report.model_validate_json((self._folder(row) / "status.json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return Report()  # The queue has not looked at it yet.


async def _write(path: Path, content: AsyncIterator[bytes]) -> None:
    """Put a file in its place once it is whole, for its owner alone."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.touch(0o600)
        with part.open("wb") as file:
            async for data in content:
                await asyncio.to_thread(file.write, data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _replace(path: Path, text: str) -> None:
    """Write a file unless it holds that already."""
    with suppress(FileNotFoundError):
        if path.read_text() == text:
            return
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text)
    part.replace(path)


def _lines(path: Path) -> list[dict[str, Any]]:
    """The last lines of a file to which another process adds; what is half there is left out."""
    found: deque[dict[str, Any]] = deque(maxlen=MOST_LINES)
    with suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            with suppress(ValueError):
                value = json.loads(line)
                if isinstance(value, dict):
                    found.append(value)
    return list(found)
