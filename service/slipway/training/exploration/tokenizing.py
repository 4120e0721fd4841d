"""How texts fall into words, characters and sub-words, and what that costs.

Fertility (tokens a word) and the share of words that are cut up are those of Rust et al., How Good is Your
Tokenizer?, ACL 2021: the lower, the better a vocabulary fits the texts. A word is what stands between white
space.
"""

import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from slipway.training.errors import DataError
from slipway.training.exploration.counting import Lengths

_WORD = re.compile(r"\S+")
_UNKNOWN = "[UNK]"
_BATCH = 256
_TRAINED = ("BPE", "Unigram", "WordPiece")


@dataclass(slots=True)
class Measured:
    """What a tokenizer makes of texts."""

    name: str
    vocabulary: int
    """Tokens that it knows."""
    lengths: Lengths = field(default_factory=Lengths)
    """Tokens of each text."""
    words: int = 0
    whole: int = 0
    """Words that are one token."""
    characters: int = 0
    unknown: int = 0
    """Tokens that stand for what it does not know."""

    @property
    def tokens(self) -> int:
        """Of all texts."""
        return self.lengths.total

    @property
    def fertility(self) -> float:
        """Tokens a word."""
        return self.tokens / self.words if self.words else 0.0

    @property
    def continued(self) -> float:
        """Share of the words that are more than one token."""
        return 1 - self.whole / self.words if self.words else 0.0

    @property
    def characters_per_token(self) -> float:
        """Characters that a token stands for, white space included."""
        return self.characters / self.tokens if self.tokens else 0.0

    @property
    def unknown_share(self) -> float:
        """Of the tokens."""
        return self.unknown / self.tokens if self.tokens else 0.0

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "name": self.name,
            "vocabulary": self.vocabulary,
            "texts": self.lengths.number,
            "tokens": self.tokens,
            "median": self.lengths.quantile(0.5),
            "p95": self.lengths.quantile(0.95),
            "longest": self.lengths.longest,
            "fertility": round(self.fertility, 4),
            "continued": round(self.continued, 4),
            "charactersPerToken": round(self.characters_per_token, 4),
            "unknown": round(self.unknown_share, 6),
        }


class Subwords:
    """A trained tokenizer.

    Args:
        name: for people
        tokenizer: one of the library `tokenizers`
    """

    def __init__(self, name: str, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.measured = Measured(name, tokenizer.get_vocab_size())
        model = json.loads(tokenizer.to_str())["model"]
        unknown = model.get("unk_token")
        self._unknown = model.get("unk_id") if unknown is None else tokenizer.token_to_id(unknown)

    @classmethod
    def of_model(cls, folder: Path) -> "Subwords":
        """The tokenizer of a model.

        Raises:
            DataError: the folder has none that can be loaded.
        """
        from tokenizers import Tokenizer

        file = folder / "tokenizer.json"
        if not any((folder / name).exists() for name in (file.name, "tokenizer_config.json", "config.json")):
            raise DataError(f"{folder} holds no tokenizer.")
        try:
            if file.exists():
                return cls("the model's", Tokenizer.from_file(str(file)))
            from transformers import AutoTokenizer

            loaded = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            return cls("the model's", loaded.backend_tokenizer)
        except Exception as error:  # `tokenizers` raises Exception itself
            raise DataError(f"{folder} holds no tokenizer that can be loaded: {error}") from error

    def add(self, texts: Sequence[str]) -> None:
        """Count what it makes of texts."""
        measured = self.measured
        for text, encoded in zip(
            texts, self._tokenizer.encode_batch(list(texts), add_special_tokens=False), strict=True
        ):
            measured.lengths.add(len(encoded.ids))
            measured.characters += len(text)
            if self._unknown is not None:
                measured.unknown += encoded.ids.count(self._unknown)
            starts = [match.start() for match in _WORD.finditer(text)]
            # A token may begin with the white space before its word.
            pieces = Counter(
                bisect_right(starts, max(begin, end - 1)) for begin, end in encoded.offsets if end > begin
            )
            measured.words += len(starts)
            measured.whole += sum(pieces[at] == 1 for at in range(1, len(starts) + 1))


class Units:
    """Words or characters as tokens; what is not among the known ones is unknown."""

    def __init__(self, name: str, known: Iterable[str], *, characters: bool) -> None:
        self._known = frozenset(known)
        self._characters = characters
        self.measured = Measured(name, len(self._known))

    def add(self, texts: Sequence[str]) -> None:
        """Count what they are in texts."""
        measured = self.measured
        for text in texts:
            words = _WORD.findall(text)
            units: Sequence[str] = text if self._characters else words
            measured.lengths.add(len(units))
            measured.characters += len(text)
            measured.words += len(words)
            measured.whole += sum(len(word) == 1 for word in words) if self._characters else len(words)
            measured.unknown += sum(unit not in self._known for unit in units)


def compare(
    train: Iterable[str], held_out: Iterable[str], *, vocabulary: int, model: Path | None = None, most: int
) -> list[Measured]:
    """Vocabularies made of some texts, and a model's own, measured on others.

    Args:
        train: texts that words, characters and sub-words are learned from
        held_out: texts that are measured
        vocabulary: tokens of each vocabulary that is made, at most; characters have as many as there are
        model: folder of the model whose tokenizer is measured beside them
        most: texts of each kind that are looked at

    Raises:
        DataError: there is no text, or the model has no tokenizer.
    """
    learned = [text for text in islice(train, most) if text]
    if not learned:
        raise DataError("There is no text to learn a vocabulary from.")
    words = Counter(word for text in learned for word in _WORD.findall(text))
    kinds: list[Subwords | Units] = [
        Units("words", (word for word, _ in words.most_common(vocabulary)), characters=False),
        Units("characters", set(chain.from_iterable(learned)), characters=True),
        *(Subwords(name, trained(name, learned, vocabulary)) for name in _TRAINED),
    ]
    if model is not None:
        kinds.append(Subwords.of_model(model))
    measured = islice(held_out, most)
    while texts := list(islice(measured, _BATCH)):
        for kind in kinds:
            kind.add(texts)
    return [kind.measured for kind in kinds]


def trained(kind: str, texts: Sequence[str], vocabulary: int) -> Any:
    """A vocabulary of sub-words made of texts.

    Args:
        kind: BPE (Sennrich et al. 2016), Unigram (Kudo 2018) or WordPiece (Schuster, Nakajima 2012)
        texts: what it is made of
        vocabulary: tokens, at most
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    asked: dict[str, Any] = {"vocab_size": vocabulary, "special_tokens": [_UNKNOWN], "show_progress": False}
    model, trainer = {
        "BPE": (models.BPE(unk_token=_UNKNOWN), trainers.BpeTrainer),
        "Unigram": (models.Unigram(), trainers.UnigramTrainer),
        "WordPiece": (models.WordPiece(unk_token=_UNKNOWN), trainers.WordPieceTrainer),
    }[kind]
    if kind == "Unigram":
        asked["unk_token"] = _UNKNOWN
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(texts, trainer(**asked))
    return tokenizer
