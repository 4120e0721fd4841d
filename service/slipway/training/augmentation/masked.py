"""Words that a masked language model finds as likely in a word's place.

After Kobayashi, Contextual Augmentation: Data Augmentation by Words with Paradigmatic Relations, NAACL 2018,
with an ordinary masked model: it does not know the label.
"""

from math import exp
from pathlib import Path
from random import Random
from typing import Any

from slipway.training.augmentation.words import Words, like
from slipway.training.errors import DataError


class MaskedModel:
    """A masked language model and its tokenizer.

    Each text is asked for by itself: in a batch the length of its neighbours moves its figures' last digits,
    and with them now and then a word.

    Raises:
        DataError: the folder holds no masked language model.
    """

    def __init__(self, folder: Path, candidates: int) -> None:
        import torch
        from transformers import AutoModelForMaskedLM, AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._model: Any = AutoModelForMaskedLM.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError, ImportError) as error:
            raise DataError(f"{folder} holds no masked language model: {error}") from error
        if self._tokenizer.mask_token_id is None:
            raise DataError(f"The tokenizer in {folder} has no mask: name a masked language model like BERT.")
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model.to(self._device).eval()
        self._candidates = candidates
        self._longest = min(self._tokenizer.model_max_length, self._model.config.max_position_embeddings - 2)
        self._usable = _whole_words(self._tokenizer, self._model.config.vocab_size)

    def replace(self, words: Words, rate: float, random: Random) -> bool:
        """Put likely other words in the place of words. False if the model offers none."""
        return self._fill(words, words.some(rate, random), random)

    def insert(self, words: Words, rate: float, random: Random) -> bool:
        """Insert likely words at places by chance. False if the model offers none."""
        places = words.some(rate, random)
        for place in sorted(places, reverse=True):
            words.parts[place + 1 : place + 1] = [" ", ""]
        moved = [place + 2 + 2 * rank for rank, place in enumerate(sorted(places))]
        changed = self._fill(words, moved, random)
        for place in moved:
            if not words.parts[place]:
                words.parts[place - 1] = ""
        return changed

    def _fill(self, words: Words, places: list[int], random: Random) -> bool:
        import torch

        before = {place: words.parts[place] for place in places}
        masked = list(words.parts)
        for place in places:
            masked[place] = self._tokenizer.mask_token
        text = words.joint.join(masked)
        encoded = self._tokenizer(text, return_tensors="pt", truncation=True, max_length=self._longest)
        at = (encoded["input_ids"][0] == self._tokenizer.mask_token_id).nonzero()[:, 0].tolist()
        with torch.inference_mode():
            logits = self._model(**encoded.to(self._device)).logits[0]
        if len(at) > len(places):
            return False  # The text itself holds the mask.
        changed = False
        # What is cut off keeps its words: masks that are left belong to the first places.
        for position, place in zip(at, sorted(places), strict=False):
            word = self._likely(logits[position], before[place], random)
            if word:
                words.parts[place] = like(before[place], word)
                changed = True
        return changed

    def _likely(self, logits: Any, before: str, random: Random) -> str | None:
        """One of the likeliest words, drawn by probability; None if there is none but the one before."""
        import torch

        scores = torch.where(self._usable.to(logits.device), logits.float(), -torch.inf)
        best = scores.topk(min(self._candidates + 1, len(scores)))
        found = [
            (self._tokenizer.decode([token]).strip(), score)
            for token, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            if score > float("-inf")
        ]
        found = [(word, score) for word, score in found if word.lower() != before.lower()][: self._candidates]
        if not found:
            return None
        top = found[0][1]
        weights = [exp(score - top) for _, score in found]
        drawn: str = random.choices([word for word, _ in found], weights)[0]
        return drawn


def _whole_words(tokenizer: Any, size: int) -> Any:
    """Which tokens of a vocabulary are words by themselves, as a tensor of truths of a model's size."""
    import torch

    tokens = tokenizer.get_vocab()
    usable = torch.zeros(size, dtype=torch.bool)
    continued = any(token.startswith("##") for token in tokens)
    starts = tuple(mark for mark in ("\u0120", "\u2581") if any(token.startswith(mark) for token in tokens))
    special = set(tokenizer.all_special_ids)
    for token, index in tokens.items():
        if index >= size:
            continue
        begins = not token.startswith("##") if continued else token.startswith(starts) if starts else True
        usable[index] = begins and index not in special and tokenizer.decode([index]).strip().isalpha()
    return usable
