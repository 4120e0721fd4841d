"""Puts the parts of a serving engine together."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.applications import Starlette

from slipway.engine.transformers_runtime.application import CommonRoutes, application
from slipway.engine.transformers_runtime.flags import Flags
from slipway.engine.transformers_runtime.generating import Generating
from slipway.engine.transformers_runtime.generation_routes import GenerationRoutes
from slipway.engine.transformers_runtime.judging_routes import JudgingRoutes
from slipway.engine.transformers_runtime.metrics import Metrics
from slipway.engine.transformers_runtime.models import Model, TextToText
from slipway.engine.transformers_runtime.passes import Input, Passes
from slipway.engine.transformers_runtime.reading import Reading
from slipway.engine.transformers_runtime.replies import Handler
from slipway.engine.transformers_runtime.rows import Row
from slipway.engine.transformers_runtime.waiting import Waiting
from slipway.engine.transformers_runtime.worker import Worker


@dataclass(frozen=True)
class Serving:
    """A model's application and the worker behind it."""

    application: Starlette
    worker: Worker


def assemble(
    model: Model,
    name: str,
    flags: Flags,
    *,
    died: Callable[[], None],
    clock: Callable[[], float] = time.monotonic,
) -> Serving:
    """What serves `model` under `name`; `died` is called in the worker's thread if that stops unasked."""
    metrics = Metrics(name)
    reading = Reading(model.tokenizer, longest=model.longest, vocabulary=model.vocabulary)
    handlers: dict[str, Handler]
    work: Generating | Passes
    waiting: Waiting[Row] | Waiting[Input]
    if isinstance(model, TextToText):
        rows = Waiting[Row](flags.max_waiting)
        waiting, work = rows, Generating(model, rows, flags, metrics, clock)
        generation = GenerationRoutes(name, model, reading, rows, flags.max_waiting, metrics, clock)
        handlers = dict(generation.handlers())
    else:
        inputs = Waiting[Input](flags.max_waiting)
        waiting, work = inputs, Passes(model, inputs, flags, metrics, clock)
        handlers = dict(JudgingRoutes(name, model, reading, inputs, metrics, clock).handlers())
    metrics.watch(running=lambda: work.running, waiting=lambda: len(waiting))
    worker = Worker(work, waiting.close, died)
    common = CommonRoutes(name, reading, metrics, worker.alive, int(time.time()))
    return Serving(application(common, handlers), worker)
