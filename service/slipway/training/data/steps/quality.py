"""Steps that leave out what is not worth learning: too short, repeated, no prose.

The rules have the names and bounds of their papers: Gopher (Rae et al. 2021, appendix A1.1) and C4 (Raffel
et al. 2020, section 2.2). Those of repetition are asked of texts with enough words alone: they were meant for
pages.
"""

import re
from collections import Counter
from collections.abc import Sequence

from pydantic import Field

from slipway.training.data.identities import text_of
from slipway.training.data.steps import options
from slipway.training.data.steps.dropping import DropError
from slipway.training.records import Record

_STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
_TOP_NGRAMS = {2: 0.20, 3: 0.18, 4: 0.16}
"""Share of characters that the most frequent n-gram of words may make up."""
_DUPLICATE_NGRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
"""Share of characters that all n-grams which occur more than once may make up."""
_LONGEST = 20_000
"""Words from the beginning of a text whose n-grams are counted."""
_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"'\u201d\u2019)\]]*$")
_ELLIPSES = ("...", "…")


class Length:
    """Leaves out records that are too short or too long."""

    class Options(options.Options):
        """Options of `length`."""

        min_characters: int = Field(default=1, ge=0)
        """Of all that a record says."""
        max_characters: int = Field(default=1_000_000, ge=1)
        """Of all that a record says."""
        min_words: int = Field(default=0, ge=0)
        """Of all that a record says."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def __call__(self, record: Record) -> Sequence[str]:
        text, bounds = text_of(record), self._options
        if len(text.strip()) < bounds.min_characters:
            raise DropError(
                "too-short", f"It has {len(text)} characters, fewer than {bounds.min_characters}."
            )
        if len(text) > bounds.max_characters:
            raise DropError("too-long", f"It has {len(text)} characters, more than {bounds.max_characters}.")
        if bounds.min_words and len(text.split()) < bounds.min_words:
            raise DropError("too-short", f"It has fewer than {bounds.min_words} words.")
        return ()


class GopherQuality:
    """Gopher's rules for prose: words, their length, symbols, bullets, stop words."""

    class Options(options.Options):
        """Options of `gopher-quality`; the defaults are the paper's."""

        min_words: int = 50
        max_words: int = 100_000
        min_mean_word: float = 3
        max_mean_word: float = 10
        max_symbols: float = 0.1
        """Hashes and ellipses for each word."""
        max_bullets: float = 0.9
        """Share of lines that begin with one."""
        max_ellipsis_lines: float = 0.3
        min_alphabetic: float = 0.8
        """Share of words with a letter."""
        min_stop_words: int = 2
        """Of eight frequent English ones; 0 for other languages."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def __call__(self, record: Record) -> Sequence[str]:
        text, bounds = text_of(record), self._options
        words, lines = text.split(), text.splitlines()
        count = max(1, len(words))
        if not bounds.min_words <= len(words) <= bounds.max_words:
            raise DropError("gopher-quality", f"It has {len(words)} words.")
        mean = sum(map(len, words)) / count
        if not bounds.min_mean_word <= mean <= bounds.max_mean_word:
            raise DropError("gopher-quality", f"Its words have {mean:.1f} characters on average.")
        symbols = (text.count("#") + sum(text.count(mark) for mark in _ELLIPSES)) / count
        if symbols > bounds.max_symbols:
            raise DropError("gopher-quality", f"It has {symbols:.2f} hashes and ellipses for each word.")
        bullets = sum(line.lstrip().startswith(("•", "-", "*")) for line in lines) / max(1, len(lines))
        if bullets > bounds.max_bullets:
            raise DropError("gopher-quality", f"{bullets:.0%} of its lines begin with a bullet.")
        ellipses = sum(line.rstrip().endswith(_ELLIPSES) for line in lines) / max(1, len(lines))
        if ellipses > bounds.max_ellipsis_lines:
            raise DropError("gopher-quality", f"{ellipses:.0%} of its lines end with an ellipsis.")
        alphabetic = sum(any(map(str.isalpha, word)) for word in words) / count
        if alphabetic < bounds.min_alphabetic:
            raise DropError("gopher-quality", f"Only {alphabetic:.0%} of its words have a letter.")
        if len(_STOP_WORDS & {word.lower() for word in words}) < bounds.min_stop_words:
            raise DropError("gopher-quality", f"It has fewer than {bounds.min_stop_words} of the stop words.")
        return ()


class GopherRepetition:
    """Gopher's rules against repetition: lines, paragraphs and n-grams of words that occur again."""

    class Options(options.Options):
        """Options of `gopher-repetition`; the defaults are the paper's."""

        min_words: int = 100
        """Shorter texts pass: a few words are easily repeated."""
        max_duplicate_lines: float = 0.3
        max_duplicate_paragraphs: float = 0.3
        ngrams: bool = True
        """Also look at n-grams of words."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def __call__(self, record: Record) -> Sequence[str]:
        text, bounds = text_of(record), self._options
        words = text.split(None, _LONGEST)[:_LONGEST]
        if len(words) < bounds.min_words:
            return ()
        for name, parts, most in (
            ("lines", text.split("\n"), bounds.max_duplicate_lines),
            ("paragraphs", text.split("\n\n"), bounds.max_duplicate_paragraphs),
        ):
            told = [part.strip() for part in parts if part.strip()]
            share = 1 - len(set(told)) / max(1, len(told))
            if len(told) > 2 and share > most:
                raise DropError("gopher-repetition", f"{share:.0%} of its {name} are there already.")
        # Words cannot repeat much where nearly all of them differ.
        if bounds.ngrams and len(set(words)) < 0.9 * len(words):
            self._look_at_ngrams(words)
        return ()

    def _look_at_ngrams(self, words: list[str]) -> None:
        characters = sum(map(len, words))
        for size, most in _TOP_NGRAMS.items():
            ngram, count = Counter(_ngrams(words, size)).most_common(1)[0]
            share = count * sum(map(len, ngram)) / characters
            if count > 1 and share > most:
                raise DropError("gopher-repetition", f"{' '.join(ngram)!r} makes up {share:.0%} of it.")
        # An n-gram that is there twice holds two shorter ones that are: where none is, none needs a look.
        for size, most in _DUPLICATE_NGRAMS.items():
            grams = _ngrams(words, size)
            if len(set(grams)) == len(grams):
                return
            if (share := _repeated(grams, words, size) / characters) > most:
                raise DropError(
                    "gopher-repetition", f"Repeated runs of {size} words make up {share:.0%} of it."
                )


class C4Quality:
    """C4's rules for pages: lines that are sentences, no code, no filler."""

    class Options(options.Options):
        """Options of `c4-quality`."""

        min_sentences: int = 3
        """Lines with at least three words that end as a sentence."""
        braces: bool = False
        """Keep texts with curly braces, which the paper takes for code."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def __call__(self, record: Record) -> Sequence[str]:
        text = text_of(record)
        low = text.lower()
        for word in ("lorem ipsum", "please enable javascript"):
            if word in low:
                raise DropError("c4-quality", f"It says {word!r}.")
        if "{" in text and not self._options.braces:
            raise DropError("c4-quality", "It has a curly brace.")
        lines = [line.strip() for line in text.splitlines()]
        sentences = sum(len(line.split()) >= 3 and bool(_SENTENCE_END.search(line)) for line in lines)
        sentences += sum(line.count(". ") for line in lines)
        if sentences < self._options.min_sentences:
            raise DropError("c4-quality", f"It has {sentences} sentences.")
        return ()


def _ngrams(words: list[str], size: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[at:] for at in range(size)), strict=False))


def _repeated(grams: list[tuple[str, ...]], words: list[str], size: int) -> int:
    """Characters in n-grams that were there before, none counted twice."""
    seen: set[tuple[str, ...]] = set()
    total = at = 0
    while at < len(grams):
        if grams[at] in seen:
            total += sum(map(len, words[at : at + size]))
            at += size
        else:
            seen.add(grams[at])
            at += 1
    return total
