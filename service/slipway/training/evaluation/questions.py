"""What a model is asked, and what it replies. A question's key is the same for the same question alone."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

from slipway.training.records import Message

Kind = Literal["generate", "likelihood", "classify", "tag"]


@dataclass(frozen=True)
class Question:
    """One thing that a model is asked."""

    kind: Kind
    """generate: an answer to `messages` (a last turn of the assistant is gone on with), or where there are
    none, how `text` goes on; likelihood: of `continuation` after `messages`, or of the text alone
    where there are none; classify: a label for `text`; tag: one tag for each of `tokens`."""
    messages: tuple[tuple[str, str], ...] = ()
    """Role and content of each turn."""
    text: str = ""
    tokens: tuple[str, ...] = ()
    continuation: str = ""
    max_tokens: int = 0
    """Of a generated answer."""

    @cached_property
    def key(self) -> str:
        """First 32 hexadecimal digits of the SHA-256 of its content."""
        content = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model replies. What the question's kind does not use is left empty."""

    text: str = ""
    """The generated answer, or the label."""
    tags: tuple[str, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    """Probability of each label."""
    logprob: float | None = None
    """Natural logarithm of the probability of the continuation, or of the text."""
    tokens: int = 0
    """Tokens that `logprob` is about, or that were generated."""
    error: str = ""
    """Why there is no answer; the others are empty then."""

    def document(self) -> dict[str, Any]:
        """As JSON, without what is empty."""
        return {name: value for name, value in asdict(self).items() if value not in ("", (), {}, None, 0)}

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Reply":
        """What `document` made."""
        known = dict(document)
        known["tags"] = tuple(known.get("tags", ()))
        return cls(**known)


def generate(messages: list[Message] | tuple[tuple[str, str], ...], max_tokens: int) -> Question:
    """Ask for an answer."""
    return Question("generate", turns(messages), max_tokens=max_tokens)


def likelihood(messages: list[Message] | tuple[tuple[str, str], ...], continuation: str) -> Question:
    """Ask how likely an answer is; without messages, how likely a text is."""
    return Question("likelihood", turns(messages), continuation=continuation)


def turns(messages: list[Message] | tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Messages as a question holds them."""
    return tuple(each if isinstance(each, tuple) else (each["role"], each["content"]) for each in messages)
