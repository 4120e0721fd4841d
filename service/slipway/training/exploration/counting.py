"""Counts of any number of things in memory that stays the same.

Each says how exact it is: up to its bound all of them are.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

_DIGITS = 7
"""Leading bits of a length that are kept: within 1 %."""


@dataclass(slots=True)
class Lengths:
    """The distribution of whole numbers: exact up to 127, within 1 % beyond."""

    counts: Counter[int] = field(default_factory=Counter)
    total: int = 0
    """Sum of them all."""
    shortest: int = 0
    longest: int = 0

    def add(self, length: int) -> None:
        """Count one more."""
        if not self.counts:
            self.shortest = length
        self.shortest, self.longest = min(self.shortest, length), max(self.longest, length)
        self.total += length
        drop = max(0, length.bit_length() - _DIGITS)
        self.counts[(length >> drop) << drop] += 1

    @property
    def number(self) -> int:
        """How many were counted."""
        return self.counts.total()

    @property
    def mean(self) -> float:
        """Their mean; 0 of none."""
        return self.total / self.number if self.number else 0.0

    def quantile(self, share: float) -> int:
        """The length that this share of all does not exceed; 0 of none."""
        wanted = share * self.number
        seen = 0
        for length in sorted(self.counts):
            seen += self.counts[length]
            if seen >= wanted:
                return min(max(length, self.shortest), self.longest)
        return self.longest


@dataclass(slots=True)
class Tally:
    """How often each value occurs; of more than `most` values the seldom ones are put together.

    What is kept may have been counted a little too low, by `missed` at most (Manku and Motwani, Approximate
    Frequency Counts over Data Streams, VLDB 2002).
    """

    most: int
    counts: Counter[str] = field(default_factory=Counter)
    total: int = 0
    missed: int = 0

    def add(self, value: str, count: int = 1) -> None:
        """Count a value."""
        self.total += count
        self.counts[value] += count
        if len(self.counts) > self.most:
            self._forget()

    def update(self, values: Sequence[str]) -> None:
        """Count many values."""
        self.total += len(values)
        self.counts.update(values)
        if len(self.counts) > self.most:
            self._forget()

    @property
    def other(self) -> int:
        """How often those occur that are not kept by name."""
        return self.total - self.counts.total()

    def _forget(self) -> None:
        # Half of the places become free, so that this is done seldom.
        kept = sorted(self.counts.values(), reverse=True)[self.most // 2]
        self.missed += kept
        self.counts = Counter({value: count for value, count in self.counts.items() if count > kept})


class Distinct:
    """How many different things there are: HyperLogLog (Flajolet et al. 2007), within 0.8 % most times."""

    _BITS = 14

    def __init__(self) -> None:
        self._registers = bytearray(1 << self._BITS)

    def add(self, value: str) -> None:
        """Count a value, unless it was there."""
        digest = blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        number = int.from_bytes(digest)
        at, rest = number >> (64 - self._BITS), number & ((1 << (64 - self._BITS)) - 1)
        rank = 64 - self._BITS - rest.bit_length() + 1
        if rank > self._registers[at]:
            self._registers[at] = rank

    @property
    def number(self) -> int:
        """The estimate."""
        size = len(self._registers)
        estimate = 0.7213 / (1 + 1.079 / size) * size**2 / sum(2.0**-rank for rank in self._registers)
        empty = self._registers.count(0)
        if estimate <= 2.5 * size and empty:
            estimate = size * math.log(size / empty)
        return round(estimate)


@dataclass(slots=True)
class Repeats:
    """What occurs more than once, looked at on a sample of all different things that fits in memory.

    A thing is in the sample by its hash alone, so all its occurrences are or none is. `share` is 1 while all
    fit.
    """

    most: int = 200_000
    share: float = 1.0
    """Of the different things, in the sample."""
    _level: int = 0
    _seen: dict[int, tuple[int, int, int, bool]] = field(default_factory=dict)

    def add(self, key: int, part: int, says: int) -> None:
        """Count an occurrence.

        Args:
            key: 64 bits of a hash of the thing
            part: number of the part that it occurs in, from 0
            says: 64 bits of a hash of its label or answer
        """
        if key & ((1 << self._level) - 1):
            return
        count, parts, first, contradicted = self._seen.get(key, (0, 0, says, False))
        self._seen[key] = (count + 1, parts | 1 << part, first, contradicted or says != first)
        while len(self._seen) > self.most:
            self._level += 1
            self.share /= 2
            mask = (1 << self._level) - 1
            self._seen = {key: each for key, each in self._seen.items() if not key & mask}

    @property
    def again(self) -> int:
        """Occurrences beyond the first, of all things."""
        return self._scaled(sum(count - 1 for count, _, _, _ in self._seen.values()))

    @property
    def across(self) -> int:
        """Things that occur in more than one part."""
        return self._scaled(sum(parts.bit_count() > 1 for _, parts, _, _ in self._seen.values()))

    @property
    def contradicted(self) -> int:
        """Things that occur with different labels or answers."""
        return self._scaled(sum(each for _, _, _, each in self._seen.values()))

    def _scaled(self, number: int) -> int:
        return round(number / self.share)
