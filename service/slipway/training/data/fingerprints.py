"""Signatures by which near duplicates are found: MinHash over runs of words, but those of a template.

Records made from one template ("Classify the sentiment of this text: …") share most of their words, and are
no duplicates for it. A run of words that many records of a sample have is left out of the signatures.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from slipway.training.data.identities import key
from slipway.training.data.words import hashes, mixed, words_of

BANDS = 21
ROWS = 6
"""Two texts are compared if all rows of a band agree: 99.9 % of pairs with 0.8 of their runs in common."""
SIZE = 3
"""Words of a run."""
_PERMUTATIONS = 128
_SEED = 42
_TEMPLATE = 0.2
"""Share of the sample that has a run which comes from a template."""
_FEW = 10
"""Records that may say the same without being made from a template."""


def signatures(texts: Sequence[str], template: Any) -> Any:
    """MinHash signatures, shortened to 16 bits each: an array of `BANDS * ROWS` columns.

    Args:
        template: sorted hashes of the runs that are left out.
    """
    import numpy as np
    from rensa import RMinHash

    if not texts:
        return np.zeros((0, BANDS * ROWS), dtype=np.uint16)
    found, owners = _runs(texts)
    if len(template):
        at = np.searchsorted(template, found)
        at[at == len(template)] = 0
        own = template[at] != found
        # What is made from templates alone keeps all its runs.
        bare = np.bincount(owners[own], minlength=len(texts)) == 0
        kept = own | bare[owners]
        found, owners = found[kept], owners[kept]
    offsets = np.concatenate(([0], np.cumsum(np.bincount(owners, minlength=len(texts)))))
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(found, offsets, _PERMUTATIONS, _SEED)
    rows = np.array(matrix.to_rows(), dtype=np.uint32)
    return rows[:, : BANDS * ROWS].astype(np.uint16)


def template_of(texts: Sequence[str]) -> Any:
    """The runs that many of these texts have: sorted hashes."""
    import numpy as np

    texts = sorted(set(texts))
    most = max(_FEW, _TEMPLATE * len(texts))
    counts: Counter[int] = Counter()
    for text in texts:
        counts.update(set(_runs([text])[0].tolist()))
    return np.array(sorted(run for run, count in counts.items() if count > most), dtype=np.uint64)


def _runs(texts: Sequence[str]) -> tuple[Any, Any]:
    """The runs of all texts, and the number of the text that each is of, in order."""
    import numpy as np

    words = [words_of(text) for text in texts]
    lengths = np.array([len(each) for each in words])
    flat = hashes([word for each in words for word in each])
    runs = mixed(flat, SIZE)
    owners = np.repeat(np.arange(len(texts)), lengths)[: len(runs)]
    inside = np.arange(len(runs)) + SIZE <= np.cumsum(lengths)[owners] if len(runs) else np.zeros(0, bool)
    short = np.flatnonzero(lengths < SIZE)
    if not len(short):
        return runs[inside], owners[inside]
    # A text of fewer words is one run; one without any is what it is.
    whole = np.array([key(" ".join(words[at]) or texts[at]) for at in short], dtype=np.uint64)
    found, owner = np.concatenate((runs[inside], whole)), np.concatenate((owners[inside], short))
    order = np.argsort(owner, kind="stable")
    return found[order], owner[order]
