"""One forward pass over a batch of inputs, for models that do not write: classifiers and encoders."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import normalize

from slipway.engine.transformers_runtime.errors import RequestError, failed
from slipway.engine.transformers_runtime.flags import Flags
from slipway.engine.transformers_runtime.metrics import Metrics
from slipway.engine.transformers_runtime.models import Encoder
from slipway.engine.transformers_runtime.waiting import Waiting

LOG = logging.getLogger("slipway.engine.passes")

Outputs = list[float] | list[list[float]]
"""A row of numbers, or one for each token of the input."""


@dataclass(eq=False)
class Input:
    """One tokenized input, and who waits for what comes out."""

    encoding: Mapping[str, list[int]]
    """What the model takes: input_ids, and token_type_ids where it knows those."""
    deliver: Callable[[Outputs | RequestError], None]
    """Called in the worker's thread."""
    arrived: float
    """Seconds of the engine's clock."""
    cancelled: bool = False

    @property
    def length(self) -> int:
        """Tokens of the input."""
        return len(self.encoding["input_ids"])


class Passes:
    """The worker's work with a model that gives labels, scores or vectors."""

    def __init__(
        self,
        model: Encoder,
        waiting: Waiting[Input],
        flags: Flags,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        """Take inputs from `waiting`, within the bounds of `flags`."""
        self._model = model
        self._waiting = waiting
        self._flags = flags
        self._metrics = metrics
        self._clock = clock
        self.running = 0
        """Inputs in the pass under way."""

    def wait(self) -> bool:
        """Block until there is something to do; False when the worker is to end."""
        return self._waiting.wait()

    def step(self) -> None:
        """Run one pass over what waits."""
        batch = self._waiting.take(self._flags.max_num_seqs, self._flags.max_num_batched_tokens)
        if not batch:
            return
        self.running = len(batch)
        now = self._clock()
        for each in batch:
            self._metrics.queue_time.observe(now - each.arrived)
        self._metrics.passes["whole"].inc()
        self._metrics.batch_rows.observe(len(batch))
        try:
            with torch.inference_mode():
                outputs = outputs_of(self._model, [each.encoding for each in batch])
        except Exception as error:
            LOG.exception("A batch of %d inputs failed", len(batch))
            self._metrics.finished["error"].inc(len(batch))
            _deliver(batch, [failed()] * len(batch))
            if isinstance(error, torch.AcceleratorError):
                raise  # The device answers nothing any more.
        else:
            ended = self._clock()
            for each in batch:
                self._metrics.latency.observe(ended - each.arrived)
            self._metrics.prompt_tokens.inc(sum(each.length for each in batch))
            self._metrics.finished["stop"].inc(len(batch))
            _deliver(batch, outputs)
        finally:
            self.running = 0


def outputs_of(model: Encoder, encodings: Sequence[Mapping[str, list[int]]]) -> list[Outputs]:
    """What the model gives for each, in one padded pass."""
    # The tokenizer knows on which side its model wants padding, and of which type.
    batch = model.padding([dict(each) for each in encodings], padding=True, return_tensors="pt")
    batch = {name: tensor.to(model.module.device) for name, tensor in batch.items()}
    seen = batch["attention_mask"]
    out = model.module(**batch)
    if model.kind == "vectors":
        vectors: list[Outputs] = _pooled(out.last_hidden_state, seen, model.pooling).tolist()
        return vectors
    logits = out.logits.float()
    if model.kind == "tokens":
        return [row[mask.bool()].tolist() for row, mask in zip(logits, seen, strict=True)]
    rows: list[Outputs] = logits.tolist()
    return rows


def _pooled(hidden: torch.Tensor, seen: torch.Tensor, pooling: str) -> torch.Tensor:
    """One vector of length 1 for each row, out of (rows, tokens, size)."""
    hidden = hidden.float()
    if pooling == "cls":
        vectors = hidden[torch.arange(len(hidden)), seen.argmax(dim=1)]
    else:
        weights = seen.unsqueeze(-1).float()
        vectors = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
    return normalize(vectors, dim=-1)


def _deliver(batch: Sequence[Input], outputs: Sequence[Any]) -> None:
    for each, output in zip(batch, outputs, strict=True):
        with suppress(RuntimeError):  # The event loop is gone already.
            each.deliver(output)
