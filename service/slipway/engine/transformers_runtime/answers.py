"""Answers as vLLM and OpenAI shape them. Pure."""

import base64
import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from slipway.engine.transformers_runtime.entities import Token, group
from slipway.engine.transformers_runtime.kinds import Activation
from slipway.engine.transformers_runtime.rows import Piece

DONE = b"data: [DONE]\n\n"


def usage(prompt: int, completion: int = 0) -> dict[str, int]:
    """Tokens of a request."""
    return {"prompt_tokens": prompt, "total_tokens": prompt + completion, "completion_tokens": completion}


def event(document: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"


@dataclass(frozen=True)
class Wording:
    """How an answer that was generated is told: as a completion or as a chat."""

    chat: bool
    identity: str
    created: int
    """Seconds since 1970."""
    model: str

    def whole(self, choices: Sequence[Piece], used: Mapping[str, int]) -> dict[str, Any]:
        """The answer, all at once."""
        told = []
        for index, piece in enumerate(choices):
            text: dict[str, Any] = {"text": piece.text}
            if self.chat:
                text = {"message": {"role": "assistant", "content": piece.text}}
            told.append({"index": index, **text, "logprobs": None, **_end(piece)})
        kind = "chat.completion" if self.chat else "text_completion"
        return {**self._head(kind), "choices": told, "usage": dict(used)}

    def beginning(self, index: int) -> dict[str, Any] | None:
        """The event before an answer's first text, if there is one."""
        if not self.chat:
            return None
        delta = {"role": "assistant", "content": ""}
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def part(self, index: int, piece: Piece) -> dict[str, Any]:
        """The event for a piece of an answer."""
        text: dict[str, Any] = {"text": piece.text}
        if self.chat:
            text = {"delta": {"content": piece.text}}
        choice = {"index": index, **text, "logprobs": None, **_end(piece)}
        return {
            **self._head("chat.completion.chunk" if self.chat else "text_completion"),
            "choices": [choice],
        }

    def ending(self, used: Mapping[str, int]) -> dict[str, Any]:
        """The event that holds nothing but the usage."""
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return {**self._head(kind), "choices": [], "usage": dict(used)}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.identity, "object": kind, "created": self.created, "model": self.model}


def _end(piece: Piece) -> dict[str, Any]:
    return {"finish_reason": piece.finish_reason, "stop_reason": piece.stop_reason}


def listed(identity: str, created: int, model: str, data: Sequence[Any], tokens: int) -> dict[str, Any]:
    """What /classify, /score and /v1/embeddings share."""
    return {
        "id": identity,
        "object": "list",
        "created": created,
        "model": model,
        "data": list(data),
        "usage": usage(tokens),
    }


def activated(logits: Sequence[float], activation: Activation) -> list[float]:
    """Probabilities of a classifier's outputs."""
    if activation == "none":
        return list(logits)
    if activation == "sigmoid":
        return [_sigmoid(each) for each in logits]
    most = max(logits)
    powers = [math.exp(each - most) for each in logits]
    total = sum(powers)
    return [each / total for each in powers]


def _sigmoid(value: float) -> float:
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    return math.exp(value) / (1 + math.exp(value))


def labelled(index: int, probabilities: Sequence[float], labels: Sequence[str]) -> dict[str, Any]:
    """One text's classes."""
    likeliest = max(range(len(probabilities)), key=lambda label: probabilities[label])
    return {
        "index": index,
        "label": labels[likeliest],
        "probs": list(probabilities),
        "num_classes": len(probabilities),
    }


def tagged(
    index: int,
    text: str,
    logits: Sequence[Sequence[float]],
    offsets: Sequence[tuple[int, int]],
    special: Sequence[int],
    labels: Sequence[str],
) -> dict[str, Any]:
    """One text's entities; `logits`, `offsets` and `special` (1: not of the text) are by token."""
    tokens = []
    for row, (start, end), hidden in zip(logits, offsets, special, strict=True):
        if not hidden:
            chances = activated(row, "softmax")
            likeliest = max(range(len(chances)), key=lambda label: chances[label])
            tokens.append(Token(labels[likeliest], chances[likeliest], start, end))
    entities = [
        {
            "label": each.label,
            "score": each.score,
            "start": each.start,
            "end": each.end,
            "text": text[each.start : each.end],
        }
        for each in group(tokens)
    ]
    return {"index": index, "entities": entities}


def scored(index: int, score: float) -> dict[str, Any]:
    """One pair's score."""
    return {"index": index, "object": "score", "score": score}


def reranked(
    identity: str, model: str, documents: Sequence[str], scores: Sequence[float], top: int, tokens: int
) -> dict[str, Any]:
    """Documents by falling score; the first `top`, or all if that is 0."""
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    results = [
        {
            "index": index,
            "document": {"text": documents[index], "multi_modal": None},
            "relevance_score": scores[index],
        }
        for index in order[: top or None]
    ]
    used = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"id": identity, "model": model, "usage": used, "results": results}


def embedded(index: int, vector: Sequence[float], encoding: Literal["float", "base64"]) -> dict[str, Any]:
    """One text's vector; base64 is of 32-bit floats, the lowest byte first."""
    told: Any = list(vector)
    if encoding == "base64":
        told = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    return {"object": "embedding", "index": index, "embedding": told}


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """How alike two vectors of length 1 are."""
    return sum(a * b for a, b in zip(one, other, strict=True))
