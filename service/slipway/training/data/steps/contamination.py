"""The step `decontaminate`: leaves out what stands in evaluation sets.

A record is contaminated if it has a run of n words in common with one of their texts, as in GPT-3's paper
(Brown et al. 2020, appendix C: n is 13), or if it holds the whole of a shorter text.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field

from slipway.training.data.identities import text_of
from slipway.training.data.steps import options
from slipway.training.data.steps.dropping import DropError
from slipway.training.data.words import runs, words_of
from slipway.training.records import Record

SHORTEST = 5
"""Words of the shortest text of an evaluation set that is looked for."""


class Decontaminate:
    """Leaves out records that share a run of words with an evaluation set."""

    class Options(options.Options):
        """Options of `decontaminate`."""

        against: tuple[str, ...] = Field(min_length=1)
        """Addresses of the evaluation sets, such as `file:///data/test.jsonl`."""
        words: int = Field(default=13, ge=SHORTEST, le=100)
        """Length of a run."""
        known: str = ""
        """File with the sets' runs, which the preparation writes; not yours to give."""

    def __init__(self, options: Options) -> None:
        import numpy as np

        self._size = options.words
        # Without a file there is nothing to compare with; only the options are looked at.
        self._known: dict[int, Any] = {}
        if options.known:
            with np.load(options.known) as file:
                self._known = {int(size): file[size] for size in file.files}

    def __call__(self, record: Record) -> Sequence[str]:
        import numpy as np

        words = words_of(text_of(record))
        for size, known in self._known.items():
            found = runs(words, size)
            at = np.minimum(np.searchsorted(known, found), len(known) - 1)
            hits = np.flatnonzero(known[at] == found)
            if len(hits):
                shared = " ".join(words[hits[0] : hits[0] + size])
                raise DropError("contaminated", f"An evaluation set says the same: {shared!r}.")
        return ()


def known_runs(texts: Iterator[str], size: int) -> dict[str, Any]:
    """The runs of evaluation sets by their length, sorted; a text shorter than `size` is a run of its own."""
    import numpy as np

    found: dict[int, list[Any]] = {}
    for text in texts:
        words = words_of(text)
        length = min(size, len(words))
        if length >= SHORTEST:
            found.setdefault(length, []).append(runs(words, length))
    return {str(length): np.unique(np.concatenate(each)) for length, each in sorted(found.items())}


def texts_of(value: Any) -> Iterator[str]:
    """All texts in a record of a file, whatever its format."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_of(each)
