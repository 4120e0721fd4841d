"""Generates the answers of a text-to-text model: new rows join between two steps, finished ones leave."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch

from slipway.engine.transformers_runtime.choosing import choose, chooser
from slipway.engine.transformers_runtime.cohorts import COUNTS_DISTANCES, Cohort
from slipway.engine.transformers_runtime.errors import failed
from slipway.engine.transformers_runtime.flags import Flags
from slipway.engine.transformers_runtime.metrics import Metrics
from slipway.engine.transformers_runtime.models import TextToText
from slipway.engine.transformers_runtime.rows import Piece, Row
from slipway.engine.transformers_runtime.waiting import Waiting

LOG = logging.getLogger("slipway.engine.generating")


class Generating:
    """The worker's work with a text-to-text model."""

    def __init__(
        self,
        model: TextToText,
        waiting: Waiting[Row],
        flags: Flags,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        """Take rows from `waiting`, within the bounds of `flags`."""
        self._model = model
        self._waiting = waiting
        self._flags = flags
        self._metrics = metrics
        self._clock = clock
        self._cohorts: list[Cohort] = []
        self._joins = model.config.model_type in COUNTS_DISTANCES

    @property
    def running(self) -> int:
        """Rows that are decoded."""
        return sum(len(cohort.rows) for cohort in tuple(self._cohorts))

    def wait(self) -> bool:
        """Block until there is something to do; False when the worker is to end."""
        if self._cohorts:
            return not self._waiting.closed
        return self._waiting.wait()

    def step(self) -> None:
        """Take in what waits, then decode one token of every row."""
        with torch.inference_mode():
            self._step()

    def _step(self) -> None:
        room = self._flags.max_num_seqs - self.running
        if rows := self._waiting.take(room, self._flags.max_num_batched_tokens):
            self._attempt(rows, partial(self._begin, rows))
        for cohort in list(self._cohorts):
            if not self._attempt(cohort.rows, partial(self._advance, cohort)):
                self._cohorts.remove(cohort)
        self._cohorts = [cohort for cohort in self._cohorts if cohort.rows]
        if self._joins:
            for cohort in self._cohorts[1:]:
                self._cohorts[0].join(cohort)
            del self._cohorts[1:]

    def _begin(self, rows: Sequence[Row]) -> None:
        now = self._clock()
        for row in rows:
            self._metrics.queue_time.observe(now - row.arrived)
            row.chooser = chooser(
                row.sampling, self._model.generation, self._model.ends, self._model.module.device
            )
        prompts = len({id(row.prompt) for row in rows})
        self._metrics.passes["encode"].inc()
        self._metrics.batch_rows.observe(prompts)
        self._metrics.prompt_tokens.inc(sum({id(row.prompt): row.length for row in rows}.values()))
        self._cohorts.append(Cohort(self._model.module, rows, self._model.start, self._model.padding))

    def _advance(self, cohort: Cohort) -> None:
        self._let_go(cohort, [place for place, row in enumerate(cohort.rows) if not row.cancelled])
        if not cohort.rows:
            return
        self._metrics.passes["decode"].inc()
        self._metrics.batch_rows.observe(len(cohort.rows))
        tokens = choose(cohort.step(), cohort.rows, self._model.start)
        self._metrics.generation_tokens.inc(len(tokens))
        cohort.follow(tokens)
        going_on = []
        for place, (row, token) in enumerate(zip(cohort.rows, tokens, strict=True)):
            piece = row.advance(token, self._model.ends)
            if len(row.tokens) == 1:
                self._metrics.first_token.observe(self._clock() - row.arrived)
            if piece is not None:
                row.deliver(piece)
            if piece is None or piece.finish_reason is None:
                going_on.append(place)
            else:
                self._metrics.latency.observe(self._clock() - row.arrived)
                self._metrics.finished[piece.finish_reason].inc()
        self._let_go(cohort, going_on)

    def _let_go(self, cohort: Cohort, staying: Sequence[int]) -> None:
        """Drop all rows but those at the places in `staying`."""
        if len(staying) == len(cohort.rows):
            return
        if staying:
            cohort.keep(staying)
        else:
            cohort.rows = []

    def _attempt(self, rows: Sequence[Row], work: Callable[[], Any]) -> bool:
        """Do `work`; if it fails, tell those who wait for `rows`, and go on with the others."""
        rows = list(rows)
        try:
            work()
        except Exception as error:
            LOG.exception("A batch of %d rows failed", len(rows))
            self._metrics.finished["error"].inc(len(rows))
            for row in rows:
                with suppress(RuntimeError):  # The event loop is gone already.
                    row.deliver(Piece("", len(row.tokens), error=failed()))
            if isinstance(error, torch.AcceleratorError):
                raise  # The device answers nothing any more.
            return False
        return True
