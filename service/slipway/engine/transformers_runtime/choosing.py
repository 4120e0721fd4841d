"""Chooses the next token of each row of a batch, each by its own rules."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from slipway.engine.transformers_runtime.rows import Row, Sampling


@dataclass(frozen=True)
class Chooser:
    """What one row needs for its choices."""

    processors: tuple[Any, ...]
    """Transformers' own, for the model's constraints and the repetition penalty."""
    generator: torch.Generator | None


def chooser(sampling: Sampling, config: Any, ends: Collection[int], device: torch.device) -> Chooser:
    """The rules of one row: the model's generation_config.json, and what the request asks for.

    Of the model's constraints these count: `no_repeat_ngram_size`, `bad_words_ids`, `min_length`,
    `min_new_tokens`, `forced_bos_token_id`, `suppress_tokens`, `begin_suppress_tokens`. The order is that of
    `generate()`.
    """
    made: list[Any] = []
    if sampling.repetition_penalty != 1:
        made.append(transformers.RepetitionPenaltyLogitsProcessor(penalty=float(sampling.repetition_penalty)))
    if config.no_repeat_ngram_size:
        made.append(transformers.NoRepeatNGramLogitsProcessor(config.no_repeat_ngram_size))
    if config.bad_words_ids:
        made.append(transformers.NoBadWordsLogitsProcessor(config.bad_words_ids, list(ends)))
    if config.min_length and ends:
        made.append(transformers.MinLengthLogitsProcessor(config.min_length, list(ends), device=device.type))
    if config.min_new_tokens and ends:
        made.append(
            transformers.MinNewTokensLengthLogitsProcessor(
                1, config.min_new_tokens, list(ends), device=device.type
            )
        )
    if config.forced_bos_token_id is not None:
        made.append(transformers.ForcedBOSTokenLogitsProcessor(config.forced_bos_token_id))
    if config.suppress_tokens:
        made.append(transformers.SuppressTokensLogitsProcessor(config.suppress_tokens, device=device.type))
    if config.begin_suppress_tokens:
        begin = 2 if config.forced_bos_token_id is not None else 1
        made.append(
            transformers.SuppressTokensAtBeginLogitsProcessor(
                config.begin_suppress_tokens, begin, device=device.type
            )
        )
    generator = None
    if not sampling.greedy:
        generator = torch.Generator(device=device)
        if sampling.seed is None:
            generator.seed()
        else:
            generator.manual_seed(sampling.seed & (2**64 - 1))
    return Chooser(tuple(made), generator)


def choose(scores: torch.Tensor, rows: Sequence[Row], start: int) -> list[int]:
    """The next token of each row.

    Args:
        scores: (rows, vocabulary), the logits of each row's next token.
        rows: as many.
        start: the token before an answer's first.
    """
    scores = scores.float()
    for index, row in enumerate(rows):
        if row.chooser.processors:
            written = torch.tensor([[start, *row.tokens]], device=scores.device)
            one = scores[index : index + 1]
            for process in row.chooser.processors:
                one = process(written, one)
            scores[index : index + 1] = one
    tokens: list[int] = scores.argmax(dim=-1).tolist()
    chance = [index for index, row in enumerate(rows) if not row.sampling.greedy]
    if chance:
        likely = _likely(scores[chance], [rows[index].sampling for index in chance])
        for place, index in enumerate(chance):
            drawn = torch.multinomial(likely[place], 1, generator=rows[index].chooser.generator)
            tokens[index] = int(drawn)
    return tokens


def _likely(scores: torch.Tensor, samplings: Sequence[Sampling]) -> torch.Tensor:
    """Probabilities after temperature, top_k and top_p, in this order, as `generate()` has them."""
    device = scores.device
    scores = scores / torch.tensor([[each.temperature] for each in samplings], device=device)
    if all(each.top_k == 0 and each.top_p >= 1 for each in samplings):
        even: torch.Tensor = scores.softmax(dim=-1)
        return even
    size = scores.shape[-1]
    sizes = torch.tensor([[each.top_k or size] for each in samplings], device=device)
    masses = torch.tensor([[float(each.top_p)] for each in samplings], device=device)
    falling, order = scores.sort(dim=-1, descending=True)
    falling = falling.masked_fill(torch.arange(size, device=device) >= sizes, float("-inf"))
    before = falling.softmax(dim=-1).cumsum(dim=-1) - falling.softmax(dim=-1)
    # A mass of 1 keeps all: the sum of many small numbers can reach it early.
    falling = falling.masked_fill((before >= masses) & (masses < 1), float("-inf"))
    likely: torch.Tensor = torch.zeros_like(scores).scatter(-1, order, falling.softmax(dim=-1))
    return likely
