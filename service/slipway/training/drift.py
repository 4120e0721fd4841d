"""Whether what users send, or what they say of the answers, has changed. No model and no library is needed.

**Inputs.** A profile counts texts by length, by language, and their words by 256 buckets of a hash. Two are
compared by

    PSI = sum over b of (p_b - q_b) ln(p_b / q_b)         population stability index; 1/2 is added to each bin
    JS  = (KL(p || m) + KL(q || m)) / 2, m = (p + q) / 2  Jensen-Shannon divergence in bits, from 0 to 1

By the custom of credit scoring a PSI below 0.1 is none, and one above 0.25 a great change (Siddiqi, Credit
Risk Scorecards, 2006). Small samples reach that by chance alone: without any change PSI is distributed as
(1/n + 1/m) chi2(B - 1), for B bins and n and m counts (Yurdakul and Naranjo, Statistical Properties of the
Population Stability Index, Journal of Risk Model Validation 14(4), 2020). So a change must exceed both the
custom's bound and the 99.9 % quantile of that. Words of one text go together, which makes fewer independent
counts of them: they are divided by their dispersion over eighths of the texts (Rao and Scott, JASA 76, 1981).

**Ratings.** Page's cumulative sum (Biometrika 41, 1954) of ln(P(rating | fallen) / P(rating | as before)),
never below 0, calls at ln(A). While ratings are as before at least A of them pass on average until a false
call (Lorden, Annals of Mathematical Statistics 42, 1971), whenever one looks at them.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from statistics import NormalDist
from typing import Any

from slipway.training.data.words import words_of

BUCKETS = 256
"""Of the words' hash."""
_FOLDS = 8
_SMOOTHING = 0.5
_GREAT = 0.25
_CONFIDENCE = 0.999
_WORDS = 512
"""Words from the beginning of a text that are counted."""


@dataclass(slots=True)
class Profile:
    """What texts are like, as counts; profiles of parts add up to that of the whole."""

    texts: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    """By half powers of two of their characters."""
    languages: Counter[str] = field(default_factory=Counter)
    words: list[Counter[int]] = field(default_factory=lambda: [Counter() for _ in range(_FOLDS)])
    """By bucket, for each eighth of the texts."""

    @classmethod
    def of(cls, texts: Iterable[str], language: Callable[[str], str] | None = None) -> "Profile":
        """The profile of texts, read once.

        Args:
            texts: what users sent
            language: gives a text's language; without it languages are not compared
        """
        profile = cls()
        for text in texts:
            profile.add(text, language(text) if language is not None else None)
        return profile

    def add(self, text: str, language: str | None = None) -> None:
        """Count one more text."""
        self.texts += 1
        self.lengths[_bin(len(text))] += 1
        if language is not None:
            self.languages[language] += 1
        fold = _bucket(text) % _FOLDS
        self.words[fold].update(_bucket(word) for word in words_of(text)[:_WORDS])

    def __add__(self, other: "Profile") -> "Profile":
        return Profile(
            self.texts + other.texts,
            self.lengths + other.lengths,
            self.languages + other.languages,
            [one + two for one, two in zip(self.words, other.words, strict=True)],
        )

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "texts": self.texts,
            "lengths": {str(name): count for name, count in sorted(self.lengths.items())},
            "languages": dict(sorted(self.languages.items())),
            "words": [[fold[bucket] for bucket in range(BUCKETS)] for fold in self.words],
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "Profile":
        """What `document` wrote."""
        return cls(
            document["texts"],
            Counter({int(name): count for name, count in document["lengths"].items()}),
            Counter(document["languages"]),
            [Counter(dict(enumerate(fold))) for fold in document["words"]],
        )


@dataclass(frozen=True, slots=True)
class Shift:
    """How far one side of the inputs has moved."""

    of: str
    """lengths, languages or words."""
    psi: float
    js: float
    """In bits."""
    bound: float
    """What PSI must exceed to count."""

    @property
    def drifted(self) -> bool:
        """Whether it is more than chance and custom allow."""
        return self.psi > self.bound


def shifts(before: Profile, now: Profile) -> list[Shift]:
    """How inputs have moved from one profile to another; what either did not count is left out."""
    found = [shift_of("lengths", before.lengths, now.lengths)]
    if before.languages and now.languages:
        found.append(shift_of("languages", before.languages, now.languages))
    one, other = (sum(each.words, Counter[int]()) for each in (before, now))
    if one and other:
        found.append(shift_of("words", one, other, max(dispersion(before.words), dispersion(now.words))))
    return [each for each in found if each is not None]


def shift_of(
    of: str, before: Mapping[Any, int], now: Mapping[Any, int], dispersed: float = 1.0
) -> Shift | None:
    """How far counts by bin have moved; None if one side counts nothing.

    Args:
        of: what they count, for people
        before: counts by bin
        now: the same later
        dispersed: how much more they vary than independent counts do
    """
    if not before or not now:
        return None
    one, other = ({each: count / dispersed for each, count in side.items()} for side in (before, now))
    degrees = len(one.keys() | other.keys()) - 1
    by_chance = (1 / sum(one.values()) + 1 / sum(other.values())) * chi2_quantile(degrees)
    return Shift(of, psi(one, other), js(one, other), max(_GREAT, by_chance))


def psi(before: Mapping[Any, float], now: Mapping[Any, float]) -> float:
    """Population stability index of counts by bin, each with 1/2 added."""
    bins = before.keys() | now.keys()
    p, q = (_shares([counts.get(each, 0) + _SMOOTHING for each in bins]) for counts in (before, now))
    return sum((one - two) * math.log(one / two) for one, two in zip(p, q, strict=True))


def js(before: Mapping[Any, float], now: Mapping[Any, float]) -> float:
    """Jensen-Shannon divergence of counts by bin, in bits: 0 for the same, 1 for nothing in common.

    Raises:
        ValueError: one of them counts nothing.
    """
    bins = before.keys() | now.keys()
    p, q = (_shares([counts.get(each, 0) for each in bins]) for counts in (before, now))
    middle = [(one + two) / 2 for one, two in zip(p, q, strict=True)]
    return (_kl(p, middle) + _kl(q, middle)) / 2


def dispersion(folds: Sequence[Mapping[int, int]]) -> float:
    """How much more folds differ than independent counts would: Pearson's chi2 by its degrees, at least 1."""
    totals = [sum(fold.values()) for fold in folds if sum(fold.values())]
    counts = [fold for fold in folds if sum(fold.values())]
    columns: Counter[int] = Counter()
    for fold in counts:
        columns.update(fold)
    used = [bucket for bucket, count in columns.items() if count]
    degrees = (len(used) - 1) * (len(counts) - 1)
    if degrees <= 0:
        return 1.0
    whole = sum(totals)
    chi2 = sum(
        (fold.get(bucket, 0) - columns[bucket] * total / whole) ** 2 / (columns[bucket] * total / whole)
        for fold, total in zip(counts, totals, strict=True)
        for bucket in used
    )
    return max(1.0, chi2 / degrees)


def chi2_quantile(degrees: int) -> float:
    """What chi2 exceeds once in a thousand times, by Wilson and Hilferty's approximation (1931)."""
    if degrees < 1:
        return 0.0
    part = 2 / (9 * degrees)
    quantile: float = degrees * (1 - part + NormalDist().inv_cdf(_CONFIDENCE) * math.sqrt(part)) ** 3
    return quantile


@dataclass(slots=True)
class Ratings:
    """Watches ratings one by one for a fall.

    Args:
        ups: good ratings of the time that counts as before
        all: ratings of that time
        drop: the fall that is looked for, as a share of all ratings
        false_every: ratings that pass at least, on average, until a false call
    """

    ups: int
    all: int
    drop: float = 0.1
    false_every: float = 10_000
    sum: float = 0.0
    """The cumulative sum."""
    seen: int = 0
    """Ratings since."""
    ups_seen: int = 0
    """Good ones among them."""

    before: float = field(init=False)
    """The share of good ratings that counts as before: the lower end of its 95 % interval (Wilson's)."""
    fallen: float = field(init=False)
    """The share that is looked for."""

    def __post_init__(self) -> None:
        if not 0 <= self.ups <= self.all or self.all < 1:
            raise ValueError("ratings of before are needed, and no more of them good than there are")
        z, n, p = NormalDist().inv_cdf(0.975), self.all, self.ups / self.all
        centre, width = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        self.before = min(max((centre - width) / (1 + z * z / n), 0.02), 0.98)
        self.fallen = max(self.before - self.drop, self.before / 2)

    def add(self, up: bool) -> bool:
        """Count one more rating; whether they have fallen."""
        fallen, before = (self.fallen, self.before) if up else (1 - self.fallen, 1 - self.before)
        self.sum = max(0.0, self.sum + math.log(fallen / before))
        self.seen += 1
        self.ups_seen += up
        return self.falling

    @property
    def falling(self) -> bool:
        """Whether the sum has reached its bound."""
        return self.sum >= math.log(self.false_every)


def _kl(p: Sequence[float], q: Sequence[float]) -> float:
    return sum(one * math.log2(one / two) for one, two in zip(p, q, strict=True) if one)


def _shares(counts: Sequence[float]) -> list[float]:
    total = sum(counts)
    if not total:
        raise ValueError("nothing was counted")
    return [count / total for count in counts]


def _bin(length: int) -> int:
    return round(2 * math.log2(length + 1))


def _bucket(text: str) -> int:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0]
