"""Runs a search: trials side by side until its budget is spent, nothing is left to try, or it is stopped."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from slipway.training.errors import SearchError, Stopped
from slipway.training.search.studies import MISSING, Assignment, Ended, Study
from slipway.training.search.trials import Trial

_TICK = 0.5
"""Seconds between two looks at whether to stop."""


class Perform(Protocol):
    """Does one trial."""

    async def __call__(
        self,
        assignment: Assignment,
        place: int,
        report: Callable[[int, Mapping[str, float]], bool],
        stop: asyncio.Event,
    ) -> Ended | None:
        """Do it.

        Args:
            assignment: what to do.
            place: from 0 to the parallelism; no two trials have the same at the same time.
            report: to be called with the number of each evaluation, from 1, and its metrics; False: end it.
            stop: once set, the trial is to stop where it can go on later.

        Returns:
            what came of it; None where it was stopped.
        """


class Search:
    """A search over a study's space.

    Args:
        study: what is known so far; trials in it that were cut off go on first.
        perform: does one trial.
        parallelism: trials at the same time.
        timeout_s: no trial begins after so many seconds of searching.
        spent_s: seconds that earlier attempts at this search took.
        stopping: whether somebody asked it to stop.
        changed: called when a trial has begun, reported or ended, and with the seconds spent so far.
        clock: in seconds.
    """

    def __init__(
        self,
        study: Study,
        perform: Perform,
        *,
        parallelism: int = 1,
        timeout_s: float | None = None,
        spent_s: float = 0.0,
        stopping: Callable[[], bool] = lambda: False,
        changed: Callable[[list[Trial], float], None] = lambda trials, seconds: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._study, self._perform, self._parallelism = study, perform, parallelism
        self._timeout, self._spent = timeout_s, spent_s
        self._stopping, self._changed, self._clock = stopping, changed, clock
        self._began = clock()
        self._waiting = study.cut_off()
        self._over: SearchError | None = None

    @property
    def seconds(self) -> float:
        """Spent on this search, over all attempts."""
        return self._spent + self._clock() - self._began

    def run(self) -> list[Trial]:
        """Search; all trials.

        Raises:
            Stopped: it was asked to stop; what it did is kept.
            SearchError: no trial can succeed, or none did.
        """
        return asyncio.run(self._run())

    async def _run(self) -> list[Trial]:
        stop = asyncio.Event()
        watch = asyncio.create_task(self._watch(stop))
        try:
            async with asyncio.TaskGroup() as group:
                for place in range(self._parallelism):
                    group.create_task(self._work(place, stop))
        finally:
            watch.cancel()
        if self._over is not None:
            raise self._over
        if stop.is_set():
            raise Stopped
        return self._study.trials()

    async def _watch(self, stop: asyncio.Event) -> None:
        while not self._stopping():  # noqa: ASYNC110 - what asks may be a signal or a file
            await asyncio.sleep(_TICK)
        stop.set()

    async def _work(self, place: int, stop: asyncio.Event) -> None:
        """Do one trial after the other in this place."""
        while not stop.is_set():
            assignment = self._next()
            if assignment is None:
                return
            self._tell()

            def report(
                evaluation: int, metrics: Mapping[str, float], number: int = assignment.number
            ) -> bool:
                go_on = self._study.report(number, evaluation, metrics)
                self._tell()
                return go_on

            ended = await self._perform(assignment, place, report, stop)
            if ended is None:
                return
            trial = self._study.end(assignment.number, ended)
            self._tell()
            if trial.reason == MISSING:
                self._over = self._over or SearchError(trial.message, MISSING)
                stop.set()

    def _next(self) -> Assignment | None:
        if self._waiting:
            return self._waiting.pop(0)
        if self._timeout is not None and self.seconds >= self._timeout and self._study.number_of_trials:
            return None
        return self._study.begin()

    def _tell(self) -> None:
        self._changed(self._study.trials(), self.seconds)
