"""One answer before the first request: a model that cannot be run here ends the start, not every request."""

import torch

from slipway.engine.failures import StartError
from slipway.engine.transformers_runtime.choosing import choose, chooser
from slipway.engine.transformers_runtime.cohorts import Cohort
from slipway.engine.transformers_runtime.models import Model, TextToText
from slipway.engine.transformers_runtime.passes import outputs_of
from slipway.engine.transformers_runtime.rows import Row, Sampling
from slipway.engine.transformers_runtime.writing import Writing

PROMPTS = ("one", "two words")
"""Of different lengths, so that one of them is padded."""


def try_out(model: Model) -> None:
    """Run the model as requests would.

    Raises:
        StartError: it cannot be run; the message says what failed.
    """
    try:
        with torch.inference_mode():
            if isinstance(model, TextToText):
                _write(model)
            else:
                outputs_of(model, [dict(model.tokenizer(prompt)) for prompt in PROMPTS])
    except Exception as error:
        name = type(model.module).__name__
        said = f"{type(error).__name__}: {error}"[:300]
        raise StartError(
            "ModelNotSupported",
            f"{name} was loaded, but a first answer failed. If the device's memory is full, use a smaller "
            f"model; else this runtime cannot run this kind of model. It failed with {said}",
        ) from error


def _write(model: TextToText) -> None:
    rows = [
        Row(
            prompt=tuple(model.tokenizer(prompt)["input_ids"]),
            sampling=Sampling(),
            room=2,
            writing=Writing(str, hidden=(), stops=()),
            deliver=lambda piece: None,
            arrived=0.0,
        )
        for prompt in PROMPTS
    ]
    for row in rows:
        row.chooser = chooser(row.sampling, model.generation, model.ends, model.module.device)
    cohort = Cohort(model.module, rows, model.start, model.padding)
    for _ in range(2):
        tokens = choose(cohort.step(), cohort.rows, model.start)
        cohort.follow(tokens)
        for row, token in zip(rows, tokens, strict=True):
            row.tokens.append(token)
