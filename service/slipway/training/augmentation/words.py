"""A text as words that may be changed, and all else, which may not."""

import re
from dataclasses import dataclass
from random import Random

_KEPT = re.compile(
    r"""
      ```.*?(?:```|\Z) | `[^`\n]*`                       # code
    | https?://\S+ | [\w.+-]+@[\w-]+(?:\.[\w-]+)+        # addresses
    | <\|?[^<>|\n]{1,64}\|?> | \[[A-Z][A-Z0-9_]*\]       # <EMAIL_ADDRESS>, <|eot|>, [NAME]
    | \{\{.*?\}\} | \{[^{}\n]{0,64}\} | \$\{?\w+\}?      # {{name}}, {0}, $NAME
    | %\(\w+\)\w | %[sdif]\b                             # %(name)s, %s
    """,
    re.VERBOSE | re.DOTALL,
)
"""Code, addresses, and placeholders of templates and of redaction."""
_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_TURNING = re.compile(
    r"(?:no|not|never|none|nobody|nothing|neither|nor|without|hardly|cannot|\w+n['\u2019]t"
    r"|nicht|kein\w*|nie|niemals|nichts|ohne|ne|pas|jamais|rien|sans|nunca|nada|sin|non|mai|senza)",
    re.IGNORECASE,
)
"""Words without which a sentence says the opposite."""


@dataclass(slots=True)
class Words:
    """The parts of a text in order; those that `at` names are words that may be changed."""

    parts: list[str]
    at: list[int]
    joint: str = ""
    """What stands between two parts."""

    @classmethod
    def of(cls, text: str) -> "Words":
        """Code, addresses, placeholders, numbers and negations are none of the words."""
        words = cls([], [])
        end = 0
        for match in _KEPT.finditer(text):
            words._add(text[end : match.start()])
            words.parts.append(match[0])
            end = match.end()
        words._add(text[end:])
        return words

    @classmethod
    def of_tokens(cls, tokens: list[str], tags: list[str]) -> "Words":
        """Only tokens that belong to nothing (their tag is `O`) may be changed."""
        free = [
            index
            for index, (token, tag) in enumerate(zip(tokens, tags, strict=True))
            if tag == "O" and _is_changeable(token)
        ]
        return cls(list(tokens), free, " ")

    @property
    def text(self) -> str:
        return self.joint.join(self.parts)

    def some(self, rate: float, random: Random, among: list[int] | None = None) -> list[int]:
        """Places of words, at least one of them if there is any, in an order by chance.

        Args:
            rate: share of all words
            random: draws them
            among: the places to draw from; all words if left out
        """
        places = self.at if among is None else among
        count = min(len(places), max(1, round(rate * len(self.at))))
        return random.sample(places, count)

    def put(self, place: int, word: str) -> None:
        """Put another word in a word's place, with its capitals."""
        self.parts[place] = like(self.parts[place], word)

    def _add(self, text: str) -> None:
        end = 0
        for match in _WORD.finditer(text):
            if match.start() > end:
                self.parts.append(text[end : match.start()])
            if _is_changeable(match[0]):
                self.at.append(len(self.parts))
            self.parts.append(match[0])
            end = match.end()
        if end < len(text):
            self.parts.append(text[end:])


def kept(text: str) -> list[str]:
    """What must be in every version of a text, sorted: code, addresses, placeholders, numbers."""
    return sorted(_KEPT.findall(text) + _NUMBER.findall(_KEPT.sub(" ", text)))


def like(pattern: str, word: str) -> str:
    """A word with the capitals of another one."""
    if pattern.isupper() and len(pattern) > 1:
        return word.upper()
    return word[:1].upper() + word[1:] if pattern[:1].isupper() else word


def _is_changeable(word: str) -> bool:
    return (
        _WORD.fullmatch(word) is not None
        and not any(character.isdigit() for character in word)
        and _TURNING.fullmatch(word) is None
    )
