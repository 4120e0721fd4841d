"""One answer under way: what was asked, what was written so far, and when it ends. Pure."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Literal

from slipway.engine.transformers_runtime.errors import RequestError
from slipway.engine.transformers_runtime.writing import Writing

GREEDY_BELOW = 1e-5
"""A temperature below this takes the likeliest token."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen."""

    temperature: float = 0
    """0 takes the likeliest."""
    top_p: float = 1
    top_k: int = 0
    """0: all."""
    repetition_penalty: float = 1
    seed: int | None = None

    @property
    def greedy(self) -> bool:
        """Whether chance has no part in it."""
        return self.temperature < GREEDY_BELOW


@dataclass(frozen=True)
class Piece:
    """What one or more steps added to an answer."""

    text: str
    tokens: int
    """Tokens generated so far, the one that ended the answer included."""
    finish_reason: Literal["stop", "length"] | None = None
    stop_reason: str | None = None
    """The stop text that ended it."""
    error: RequestError | None = None


@dataclass(eq=False)
class Row:
    """One answer: a row of the batches until it ends."""

    prompt: tuple[int, ...]
    """Token ids. Choices of one prompt share the object, which is then encoded once."""
    sampling: Sampling
    room: int
    """Most tokens of the answer."""
    writing: Writing
    deliver: Callable[[Piece], None]
    """Called in the worker's thread."""
    arrived: float
    """Seconds of the engine's clock."""
    streams: bool = False
    """Every piece is delivered as it comes, not the whole answer at its end."""
    ignores_end: bool = False
    """The end token does not end the answer."""
    cancelled: bool = False
    tokens: list[int] = field(default_factory=list)
    chooser: Any = None
    """What the worker keeps with the row to choose its tokens."""
    _unsent: str = ""

    @property
    def length(self) -> int:
        """Tokens of the prompt."""
        return len(self.prompt)

    def advance(self, token: int, ends: Collection[int]) -> Piece | None:
        """Take the next token; what is to be delivered now, None if nothing."""
        self.tokens.append(token)
        reason: Literal["stop", "length"] | None = None
        if token in ends and not self.ignores_end:
            self._unsent += self.writing.finish()
            reason = "stop"
        else:
            self._unsent += self.writing.add(token)
            if self.writing.stopped_by is None and len(self.tokens) >= self.room:
                self._unsent += self.writing.finish()
                reason = "length"
            if self.writing.stopped_by is not None:
                reason = "stop"
        if reason is None and not (self.streams and self._unsent):
            return None
        text, self._unsent = self._unsent, ""
        return Piece(text, len(self.tokens), reason, self.writing.stopped_by)
