"""Rows of a text-to-text model that are decoded together, with their key-value cache.

A row's prompt is encoded once; then each step decodes one token of every row. Rows leave when they end.
Where the model counts distances between tokens, not places (T5), two cohorts become one whatever their rows'
lengths are: the shorter ones are padded on the left, and the distances stay what they were.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from slipway.engine.transformers_runtime.rows import Row

COUNTS_DISTANCES = frozenset({"t5", "mt5", "umt5"})
"""Model types whose decoders have relative positions only."""


class Cohort:
    """Some rows, and the tensors that belong to them: in each, dimension 0 is the row."""

    def __init__(self, model: Any, rows: Sequence[Row], start: int, padding: int) -> None:
        """Encode the prompts of `rows`.

        Args:
            model: a model for conditional generation.
            rows: at least one.
            start: the token that stands before every answer.
            padding: the token that fills up prompts on the right.
        """
        self._model = model
        self.rows = list(rows)
        device = model.device
        prompts = {id(row.prompt): row.prompt for row in rows}
        longest = max(map(len, prompts.values()))
        padded = [[*prompt, *[padding] * (longest - len(prompt))] for prompt in prompts.values()]
        seen = [[1] * len(prompt) + [0] * (longest - len(prompt)) for prompt in prompts.values()]
        ids, mask = torch.tensor(padded, device=device), torch.tensor(seen, device=device)
        encoded = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        places = {prompt: place for place, prompt in enumerate(prompts)}
        owners = torch.tensor([places[id(row.prompt)] for row in rows], device=device)
        self._encoded = encoded.index_select(0, owners)
        self._mask = mask.index_select(0, owners)
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        self._written = torch.ones((len(self.rows), 0), dtype=torch.long, device=device)
        """1 where the cache holds a token of the row, 0 where it is padded."""
        self._next = torch.full((len(self.rows), 1), start, device=device)

    def step(self) -> torch.Tensor:
        """Decode one token of every row; the logits (rows, vocabulary) of what follows it."""
        self._written = pad(self._written, (0, 1), value=1)
        out = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self._encoded),
            attention_mask=self._mask,
            decoder_input_ids=self._next,
            decoder_attention_mask=self._written,
            past_key_values=self._cache,
            use_cache=True,
        )
        logits: torch.Tensor = out.logits[:, -1, :]
        return logits

    def follow(self, tokens: Sequence[int]) -> None:
        """Set the token that each row goes on with."""
        self._next = torch.tensor(tokens, device=self._next.device).unsqueeze(1)

    def keep(self, places: Sequence[int]) -> None:
        """Let all rows go but those at `places`, and the padding that only they needed."""
        chosen = torch.tensor(places, device=self._next.device)
        self.rows = [self.rows[place] for place in places]
        self._next = self._next.index_select(0, chosen)
        prompt = max(row.length for row in self.rows)
        self._encoded = self._encoded.index_select(0, chosen)[:, :prompt]
        self._mask = self._mask.index_select(0, chosen)[:, :prompt]
        written = self._written.index_select(0, chosen)
        length = int(written.sum(dim=1).max())
        self._written = written[:, written.shape[1] - length :]
        self._cache.batch_select_indices(chosen)
        for own, cross in self._layers():
            own.keys, own.values = (each[:, :, each.shape[2] - length :] for each in (own.keys, own.values))
            cross.keys, cross.values = (each[:, :, :prompt] for each in (cross.keys, cross.values))

    def join(self, other: "Cohort") -> None:
        """Take the rows of `other`, which is not used any more. Both have made a step."""
        prompt = max(self._mask.shape[1], other._mask.shape[1])
        length = max(self._written.shape[1], other._written.shape[1])
        pairs = list(zip(self._layers(), other._layers(), strict=True))
        for (own, cross), (others_own, others_cross) in pairs:
            own.keys = _stacked(own.keys, others_own.keys, length, left=True)
            own.values = _stacked(own.values, others_own.values, length, left=True)
            cross.keys = _stacked(cross.keys, others_cross.keys, prompt)
            cross.values = _stacked(cross.values, others_cross.values, prompt)
        self._encoded = torch.cat(
            [pad(each, (0, 0, 0, prompt - each.shape[1])) for each in (self._encoded, other._encoded)]
        )
        self._mask = torch.cat([pad(each, (0, prompt - each.shape[1])) for each in (self._mask, other._mask)])
        self._written = torch.cat(
            [pad(each, (length - each.shape[1], 0)) for each in (self._written, other._written)]
        )
        self._next = torch.cat([self._next, other._next])
        self.rows += other.rows

    def _layers(self) -> list[tuple[Any, Any]]:
        """Each decoder layer's own cache, and that of its attention to the prompt."""
        caches = (self._cache.self_attention_cache.layers, self._cache.cross_attention_cache.layers)
        return list(zip(*caches, strict=True))


def _stacked(mine: torch.Tensor, others: torch.Tensor, length: int, *, left: bool = False) -> torch.Tensor:
    """(rows, heads, length, size) of both, padded to `length` on the given side."""

    def filled(part: torch.Tensor) -> torch.Tensor:
        missing = length - part.shape[2]
        return pad(part, (0, 0, missing, 0) if left else (0, 0, 0, missing))

    return torch.cat([filled(mine), filled(others)])
