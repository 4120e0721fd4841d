"""Small changes of a text's words: synonyms, insertion, swap and deletion.

They are those of Wei and Zou, EDA: Easy Data Augmentation Techniques for Boosting Performance on Text
Classification Tasks, EMNLP 2019. Unlike theirs, code, addresses, placeholders, numbers and negations stay:
what a record teaches shall stay true.
"""

from collections.abc import Mapping, Sequence, Set
from random import Random

from slipway.training.augmentation.words import Words

Thesaurus = Mapping[str, Sequence[str]]
"""Synonyms by their word in small letters."""


def replace(words: Words, thesaurus: Thesaurus, stop: Set[str], rate: float, random: Random) -> bool:
    """Put synonyms in the place of words. False if no word has any."""
    known = _known(words, thesaurus, stop)
    for place in words.some(rate, random, list(known)):
        words.put(place, random.choice(known[place]))
    return bool(known)


def insert(words: Words, thesaurus: Thesaurus, stop: Set[str], rate: float, random: Random) -> bool:
    """Insert synonyms of words of the text at places by chance. False if no word has any."""
    known = _known(words, thesaurus, stop)
    found = [random.choice(known[place]) for place in words.some(rate, random, list(known))]
    for place, word in zip(random.choices(words.at, k=len(found)), found, strict=True):
        words.parts[place] += f" {word}"
    return bool(found)


def swap(words: Words, rate: float, random: Random) -> bool:
    """Let pairs of words change places. False if no two words differ."""
    if len({words.parts[place].lower() for place in words.at}) < 2:
        return False
    before = words.text
    for _ in range(max(1, round(rate * len(words.at)))):
        one, other = random.sample(words.at, 2)
        first, second = words.parts[one], words.parts[other]
        words.put(one, _lowered(second, words, other))
        words.put(other, _lowered(first, words, one))
    if words.text == before:
        one = words.at[0]
        other = next(place for place in words.at if words.parts[place].lower() != words.parts[one].lower())
        words.parts[one], words.parts[other] = words.parts[other], words.parts[one]
    return True


def delete(words: Words, rate: float, random: Random) -> bool:
    """Leave words out. False if there are fewer than two: something must stay."""
    if len(words.at) < 2:
        return False
    for place in sorted(words.some(rate, random)[: len(words.at) - 1], reverse=True):
        words.parts[place] = ""
        before = words.parts[place - 1] if place else ""
        if before[-1:].isspace():
            words.parts[place - 1] = before[:-1]
        elif place == 0 and len(words.parts) > 1:
            words.parts[1] = words.parts[1].lstrip()
    return True


def _known(words: Words, thesaurus: Thesaurus, stop: Set[str]) -> dict[int, list[str]]:
    """The words' synonyms by place; a token is replaced by one token alone."""
    found: dict[int, list[str]] = {}
    for place in words.at:
        word = words.parts[place].lower()
        if word not in stop:
            same = [each for each in thesaurus.get(word, ()) if not (words.joint and " " in each)]
            if same:
                found[place] = same
    return found


def _lowered(word: str, words: Words, place: int) -> str:
    """The word as it would stand within a sentence, if its capital may come from beginning the text."""
    begins = not any(part.strip() for part in words.parts[:place])
    return word.lower() if begins and word.istitle() else word
