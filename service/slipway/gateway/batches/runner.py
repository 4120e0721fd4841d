"""Runs batches: each gateway claims those that nobody works on, and goes on where another one was killed.

A line's result is kept in the database as it comes; a line that was under way when its gateway died is asked
again, but has one result. The batch's key pays, and waits like anybody where its limits say so.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, Row

from slipway.gateway.auth import Key
from slipway.gateway.batches import store
from slipway.gateway.batches.asking import Asking
from slipway.gateway.batches.finishing import finish
from slipway.gateway.batches.lines import MOST_ERRORS, LineError, numbered, read_line
from slipway.gateway.errors import APIError
from slipway.gateway.files.store import Files
from slipway.gateway.logs import JSONLog
from slipway.gateway.storage.database import Database

FLUSH = 0.25
"""Seconds for which results are gathered; also between two looks at whether the batch is wanted and ours."""
AT_ONCE = 4
"""Batches that one gateway works on at the same time."""


@dataclass(slots=True)
class Held:
    """A batch that this gateway works on."""

    row: Row[Any]
    status: str
    lost: bool = False
    """Another gateway has it, or this one is closing: write nothing any more."""
    found: list[store.Result] = field(default_factory=list)

    @property
    def wanted(self) -> bool:
        """Whether further lines are to be asked."""
        return not self.lost and self.status == "in_progress"


@dataclass(slots=True)
class BatchRunner:
    """The batches of one gateway."""

    database: Database
    files: Files
    asking: Asking
    key_of: Callable[[str, str], Awaitable[Key | None]]
    """Name and owner of a key -> the key, as long as it may be used."""
    log: JSONLog
    now_us: Callable[[], int]
    gateway: str
    """This gateway's name in leases."""
    parallel: int
    """Requests of one batch under way at the same time."""
    longest: int
    """Bytes of a line."""
    poll: float = 5.0
    """Seconds between two looks for batches that nobody works on."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set)

    def kick(self) -> None:
        """There is something to do: do not wait for the next look."""
        self._news.set()

    async def run(self) -> None:
        """Work until cancelled; what is under way is given back then."""
        try:
            while True:
                self._news.clear()
                with suppress(APIError):
                    await self._claim()
                    await self.files.sweep()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), self.poll)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _claim(self) -> None:
        while len(self._tasks) < AT_ONCE:
            batch = await self.database.run(self._take)
            if batch is None:
                return
            task = asyncio.create_task(self._hold(batch))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _take(self, connection: Connection) -> str | None:
        return store.claim(connection, self.gateway, self.now_us())

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self.kick()

    async def _hold(self, batch: str) -> None:
        row = await self.database.run(lambda connection: store.row_of(connection, batch))
        held = Held(row, row.status)
        keeper = asyncio.create_task(self._keep(held))
        try:
            await self._work(held)
        except asyncio.CancelledError:
            held.lost = True
        except APIError as error:
            # The database is away: whoever claims the batch next goes on with it.
            self.log.write("warning", "batch", f"{batch}: {error.message}", batch=batch)
        except Exception as error:
            self.log.write("error", "batch", f"{batch}: {type(error).__name__}: {error}", batch=batch)
            await asyncio.sleep(self.poll)
        finally:
            keeper.cancel()
            with suppress(APIError, asyncio.CancelledError):
                await self.database.run(lambda connection: store.release(connection, batch, self.gateway))

    async def _keep(self, held: Held) -> None:
        while True:
            await asyncio.sleep(FLUSH)
            await self._flush(held)
            with suppress(APIError):
                status = await self.database.run(
                    lambda connection: store.renew(connection, held.row.id, self.gateway, self.now_us())
                )
                if status is None:
                    held.lost = True
                else:
                    held.status = status
                if not held.wanted:
                    self.asking.stop(held.row.id)

    async def _flush(self, held: Held) -> None:
        taken, held.found = held.found, []
        if not taken or held.lost:
            return
        try:
            kept = await self.database.run(
                lambda connection: store.keep(connection, held.row.id, self.gateway, taken)
            )
        except APIError:
            held.found = taken + held.found
            return
        if not kept:
            held.lost = True

    # --- the stages of a batch --------------------------------------------------------------------

    async def _work(self, held: Held) -> None:
        row = held.row
        if held.status == "validating" and not await self._validate(held):
            return
        if held.status == "in_progress":
            await self._ask(held)
            while held.found and not held.lost:
                await self._flush(held)
                if held.found:
                    await asyncio.sleep(FLUSH)
        if held.lost:
            return
        expired = held.status == "in_progress" and self.now_us() >= row.expires_us
        if held.status == "in_progress" and not expired:
            await self._advance(held, "finalizing", finalizing_us=self.now_us())
        end = "expired" if expired else {"cancelling": "cancelled"}.get(held.status, "completed")
        output, error = await finish(self.files, row, self.longest, expired=expired)
        await self._advance(held, end, output_file=output, error_file=error, **{f"{end}_us": self.now_us()})
        await self.database.run(lambda connection: store.forget_records(connection, row.id))

    async def _advance(self, held: Held, status: str, **values: Any) -> None:
        if await self.database.run(
            lambda connection: store.advance(connection, held.row.id, self.gateway, status, **values)
        ):
            held.status = status
            self.log.write("info", "batch", f"{held.row.id}: {status}", batch=held.row.id)
            return
        row = await self.database.run(lambda connection: store.row_of(connection, held.row.id))
        held.status = row.status

    async def _validate(self, held: Held) -> bool:
        """Read every line once; whether all can be taken. A file with mistakes is failed as a whole."""
        row = held.row
        mistakes: list[dict[str, Any]] = []
        seen: set[str] = set()
        total, model = 0, None
        try:
            async for number, data in numbered(self.files.read(row.input_file), self.longest):
                total += 1
                try:
                    line = read_line(number, data, row.endpoint, self.longest)
                    if line.custom_id in seen:
                        raise LineError(
                            "duplicate_custom_id", f"`{line.custom_id}` is used twice.", "custom_id"
                        )
                    seen.add(line.custom_id)
                    model = model or line.body.get("model")
                except LineError as error:
                    mistakes.append(_mistake(error, number))
                    if len(mistakes) >= MOST_ERRORS:
                        break
            if not total:
                raise LineError("empty_file", "The file holds no requests.")
        except LineError as error:
            mistakes.append(_mistake(error, None))
        now = self.now_us()
        if mistakes:
            errors = orjson.dumps(mistakes).decode()
            await self._advance(held, "failed", failed_us=now, errors=errors, total=total)
            return False
        name = model if isinstance(model, str) else None
        await self._advance(held, "in_progress", in_progress_us=now, total=total, model=name)
        return True

    async def _ask(self, held: Held) -> None:
        row = held.row
        done = await self.database.run(lambda connection: store.done_lines(connection, row.id))
        room = asyncio.Semaphore(self.parallel)
        tasks: set[asyncio.Task[None]] = set()

        async def one(number: int, data: bytes) -> None:
            try:
                line = read_line(number, data, row.endpoint, self.longest)
                result = await self.asking.ask(
                    row, line, lambda: self.key_of(row.key, row.owner), lambda: held.wanted
                )
                if result is not None:
                    held.found.append(result)
            finally:
                room.release()

        try:
            async for number, data in numbered(self.files.read(row.input_file), self.longest):
                if number in done:
                    continue
                await room.acquire()
                if not held.wanted or self.now_us() >= row.expires_us:
                    break
                task = asyncio.create_task(one(number, data))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            while tasks:
                await asyncio.wait(set(tasks))
        finally:
            self.asking.stop(row.id)
            for task in tasks:
                task.cancel()


def _mistake(error: LineError, number: int | None) -> dict[str, Any]:
    return {"code": error.code, "message": str(error), "param": error.param, "line": number}
