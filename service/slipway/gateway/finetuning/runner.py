"""Takes jobs from their files to their ends: each look does what is missing, and writes down what it saw.

All it knows is in the database and with the FineTunes: a gateway that is killed leaves nothing that the next
one does not find, and what is done twice is done once.
"""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Connection, select, update

from slipway.gateway.catalog import Snapshot
from slipway.gateway.errors import APIError
from slipway.gateway.files.store import Files, Upload
from slipway.gateway.finetuning import store
from slipway.gateway.finetuning.examples import FEWEST, Checked, Method, check, written
from slipway.gateway.finetuning.places import FineTunes
from slipway.gateway.finetuning.progress import error, seen
from slipway.gateway.finetuning.specs import TRAINING, VALIDATION
from slipway.gateway.finetuning.store import Job
from slipway.gateway.finetuning.tables import jobs
from slipway.gateway.logs import JSONLog
from slipway.gateway.storage.database import Database

TOLD = 10
"""Mistakes of a file that a job's error names."""
RESULTS = "fine-tune-results"
_COLUMNS = {
    "step": "step",
    "train_loss": "loss",
    "train_accuracy": "accuracy",
    "valid_loss": "eval_loss",
    "valid_mean_token_accuracy": "eval_accuracy",
}
"""Of the file of results, after OpenAI's, by the names that runs have for them."""


@dataclass(slots=True)
class FineTuningRunner:
    """The jobs that this gateway looks after."""

    database: Database
    files: Files
    places: FineTunes
    snapshot: Callable[[], Snapshot]
    log: JSONLog
    now_us: Callable[[], int]
    gateway: str
    """This gateway's name in leases."""
    longest: int
    """Bytes of a line."""
    poll: float
    """Seconds between two looks while there is something to do."""
    idle: float = 5.0
    """Seconds between two looks while there is not."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _said: dict[str, str] = field(default_factory=dict)

    def kick(self) -> None:
        """There is something to do: do not wait for the next look."""
        self._news.set()

    async def run(self) -> None:
        """Work until cancelled; jobs are given back then."""
        try:
            while True:
                self._news.clear()
                busy = False
                with suppress(APIError):
                    busy = await self.look()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), self.poll if busy else self.idle)
        finally:
            with suppress(APIError, asyncio.CancelledError):
                await self.database.run(lambda connection: store.release(connection, self.gateway))
            await self.places.close()

    async def look(self) -> bool:
        """Do once what is to be done; whether there is more. Raises APIError 503."""
        if not await self.database.read(_any_open):
            return False
        rows = await self.database.run(
            lambda connection: store.claim(connection, self.gateway, self.now_us())
        )
        for row in rows:
            try:
                await self._step(row)
                self._said.pop(row.id, None)
            except APIError:
                raise
            except Exception as fault:  # Of the disk, of the cluster: the next look tries again.
                self._say_once(row, f"{type(fault).__name__}: {fault}")
        return bool(rows)

    def _say_once(self, row: Job, sentence: str) -> None:
        if self._said.get(row.id) != sentence:
            self._said[row.id] = sentence
            self.log.write("warning", "fine_tuning", f"{row.id}: {sentence}", job=row.id)

    async def _step(self, row: Job) -> None:
        if not row.handed:
            await self._hand_over(row)
            return
        await self.places.steer(row)
        status = await self.places.observe(row)
        known = row.tuned_model in self.snapshot().models
        values = seen(row, status, self.now_us(), known=known)
        if not values:
            return
        if values.get("status") == "succeeded":
            values["result_file"] = await self._results(row)
        if await self._advance(row, values) and values.get("settled") and values.get("status") != "failed":
            await self.places.tidy(row)

    async def _advance(self, row: Job, values: dict[str, Any]) -> bool:
        done = await self.database.run(
            lambda connection: store.advance(connection, row, self.gateway, **values)
        )
        if done and "status" in values:
            self.log.write("info", "fine_tuning", f"{row.id}: {values['status']}", job=row.id)
        return done

    # --- from files to a FineTune -------------------------------------------------------------------

    async def _hand_over(self, row: Job) -> None:
        method: Method = orjson.loads(row.method)["type"]
        given = {TRAINING: row.training_file, VALIDATION: row.validation_file}
        parts = {part: file for part, file in given.items() if file is not None}
        for part, file in parts.items():
            found = await check(self.files.read(file), method, self.longest)
            wrong = _complaint(found, part)
            if wrong is not None:
                end = {"finished_us": self.now_us(), "settled": True}
                told = error(f"invalid_{part}_file", wrong, f"{part}_file")
                await self._advance(row, end | {"status": "failed", "error": told})
                return
        await self.places.make(
            row,
            {part: partial(self.examples, file, method) for part, file in parts.items()},
        )
        await self.database.run(lambda connection: _handed(connection, row, self.now_us()))
        self.log.write("info", "fine_tuning", f"{row.id}: queued", job=row.id)

    def examples(self, file: str, method: Method) -> AsyncIterator[bytes]:
        """The examples of a file, as they are handed on."""
        return written(self.files.read(file), method, self.longest)

    async def _results(self, row: Job) -> str | None:
        """A file of the training's course, step by step; None where nobody wrote it down."""
        metrics = [each for each in (await self.places.record(row)).metrics if "step" in each]
        if not metrics:
            return None
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(_COLUMNS)
        table.writerows([each.get(name, "") for name in _COLUMNS.values()] for each in metrics)

        async def content() -> AsyncIterator[bytes]:
            yield text.getvalue().encode()

        try:
            upload = Upload(row.owner, row.key, f"{row.id}_step_metrics.csv", RESULTS)
            return str((await self.files.write(upload, content()))["id"])
        except APIError as fault:
            if fault.status == 503:
                raise
            return None  # The owner has no room for it: that must not fail what has succeeded.


def _complaint(found: Checked, part: str) -> str | None:
    if found.mistakes:
        told = "; ".join(f"line {number}: {sentence}" for number, sentence in found.mistakes[:TOLD])
        more = len(found.mistakes) - TOLD
        return told + (f"; and {more} more" if more > 0 else "") + "."
    least = FEWEST if part == TRAINING else 1
    if found.count < least:
        return f"The file holds {found.count} examples; there must be at least {least}."
    return None


def _any_open(connection: Connection) -> bool:
    return connection.scalar(select(jobs.c.id).where(jobs.c.settled.is_(False)).limit(1)) is not None


def _handed(connection: Connection, row: Job, now_us: int) -> None:
    """There is a FineTune now. Where the job was cancelled meanwhile, it has to be told."""
    here = update(jobs).where(jobs.c.id == row.id)
    connection.execute(here.values(handed=True, settled=False, queued_us=now_us))
    connection.execute(here.where(jobs.c.status == "validating_files").values(status="queued"))
