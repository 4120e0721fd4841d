"""What an engine says in chat completions, whole or in chunks, as pieces of one shape."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class CallPiece:
    """A part of a tool call; `name` comes with its first part only."""

    index: int
    name: str
    arguments: str


@dataclass(slots=True)
class Piece:
    """What came at once, in the order in which it belongs: thoughts, text, calls, the end."""

    reasoning: str = ""
    text: str = ""
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    calls: list[CallPiece] = field(default_factory=list)
    finish: str = ""
    """Why it ended (`stop`, `length`, `tool_calls`); "" while it goes on."""
    stop: str | None = None
    """The stop sequence that ended it."""
    usage: dict[str, Any] | None = None


def read(payload: dict[str, Any]) -> Piece:
    """Read a chat completion or a chunk of one."""
    piece = Piece(usage=payload.get("usage"))
    choices = payload.get("choices")
    if not choices:
        return piece
    choice = choices[0]
    said = choice.get("delta") or choice.get("message") or {}
    piece.reasoning = said.get("reasoning") or said.get("reasoning_content") or ""
    piece.text = said.get("content") or ""
    piece.logprobs = (choice.get("logprobs") or {}).get("content") or []
    piece.finish = choice.get("finish_reason") or ""
    stop = choice.get("stop_reason")
    piece.stop = stop if isinstance(stop, str) else None
    for position, call in enumerate(said.get("tool_calls") or ()):
        function = call.get("function") or {}
        piece.calls.append(
            CallPiece(
                call.get("index", position), function.get("name") or "", function.get("arguments") or ""
            )
        )
    return piece
