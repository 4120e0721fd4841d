"""Words and runs of them as numbers, many at a time."""

import re
from collections.abc import Sequence
from typing import Any

_ASCII = re.compile(r"[a-z0-9_]+")
# Scripts without spaces between words: a character is a word.
_ANY = re.compile(r"[぀-ヿ㐀-鿿가-힯฀-๿]|[^\W぀-ヿ㐀-鿿가-힯฀-๿]+")
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)


def words_of(text: str) -> list[str]:
    """The words of a text, without case, punctuation and white space."""
    text = text.lower()
    return (_ASCII if text.isascii() else _ANY).findall(text)


def hashes(words: Sequence[str]) -> Any:
    """64 bits for each word: an array."""
    import numpy as np
    from rensa import RMinHash

    found = RMinHash.hash_token_sets([list(words)])[0] if words else []
    return np.array(found, dtype=np.uint64)


def runs(words: Sequence[str], size: int) -> Any:
    """64 bits for each run of `size` words: an array, empty for fewer words."""
    return mixed(hashes(words), size)


def mixed(hashed: Any, size: int) -> Any:
    """64 bits for each run of `size` hashes, in which their order counts."""
    import numpy as np

    count = max(0, len(hashed) - size + 1)
    total = np.full(count, np.uint64(size), dtype=np.uint64)
    for at in range(size):
        factor = np.uint64(_FACTORS[at % len(_FACTORS)] ^ (at // len(_FACTORS) * 0x10001))
        total = (total ^ (total >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        total = total + hashed[at : at + count] * factor
    return total ^ (total >> np.uint64(32))
