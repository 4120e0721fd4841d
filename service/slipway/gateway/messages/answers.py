"""A chat completion as a Message: whole, or as the events of one, in Anthropic's order."""

from typing import Any

import orjson

from slipway.gateway.chat.ids import new_id
from slipway.gateway.chat.pieces import Piece, read
from slipway.gateway.chat.translating import event
from slipway.gateway.dialects.anthropic import error_event
from slipway.gateway.errors import APIError

Block = dict[str, Any]
Event = dict[str, Any]

_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def usage_of(counted: dict[str, Any] | None) -> dict[str, int]:
    """Anthropic's usage: what was read from the prefix cache does not count as input."""
    counted = counted or {}
    cached = (counted.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "input_tokens": max(0, (counted.get("prompt_tokens") or 0) - cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": counted.get("completion_tokens") or 0,
    }


class MessageTranslation:
    """One Message in the making; see `translating.Translation`."""

    def __init__(self, model: str) -> None:
        self._message: dict[str, Any] = {
            "id": new_id("msg"),
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_of(None),
        }
        self._blocks: list[Block] = self._message["content"]
        self._finish = "stop"
        self._stop: str | None = None
        self._call = -1
        """The index of the engine's tool call that is being written."""
        self._arguments = ""
        self._open = False
        self._started = False

    def start(self) -> bytes:
        """Nothing yet: the first event tells the prompt's tokens, which the first chunk brings."""
        return b""

    def chunk(self, payload: dict[str, Any]) -> bytes:
        """See Translation."""
        piece = read(payload)
        events = self._take(piece)
        if not self._started:
            self._started = True
            begun = {**self._message, "content": [], "stop_reason": None, "stop_sequence": None}
            events.insert(0, {"type": "message_start", "message": begun})
        return b"".join(event(each["type"], each) for each in events)

    async def finish(self) -> bytes:
        """See Translation."""
        events = self._close()
        self._end()
        delta = {name: self._message[name] for name in ("stop_reason", "stop_sequence")}
        events.append({"type": "message_delta", "delta": delta, "usage": self._message["usage"]})
        events.append({"type": "message_stop"})
        return b"".join(event(each["type"], each) for each in events)

    async def whole(self, payload: dict[str, Any]) -> bytes:
        """See Translation."""
        self._take(read(payload))
        self._close()
        self._end()
        if not self._blocks:
            self._blocks.append({"type": "text", "text": ""})  # Clients look at the first block.
        return orjson.dumps(self._message)

    async def failed(self, code: str, message: str) -> bytes:
        """See Translation."""
        return error_event(APIError(502, code, message))

    def _take(self, piece: Piece) -> list[Event]:
        events: list[Event] = []
        if piece.usage is not None:
            self._message["usage"] = usage_of(piece.usage)
        if piece.reasoning:
            events += self._into({"type": "thinking", "thinking": "", "signature": ""})
            self._blocks[-1]["thinking"] += piece.reasoning
            events.append(self._delta({"type": "thinking_delta", "thinking": piece.reasoning}))
        if piece.text:
            events += self._into({"type": "text", "text": ""})
            self._blocks[-1]["text"] += piece.text
            events.append(self._delta({"type": "text_delta", "text": piece.text}))
        for call in piece.calls:
            if call.name and call.index != self._call:
                events += self._close()
                self._call = call.index
                events += self._into(
                    {"type": "tool_use", "id": new_id("toolu"), "name": call.name, "input": {}}
                )
            if call.arguments and self._open and self._blocks[-1]["type"] == "tool_use":
                self._arguments += call.arguments
                events.append(self._delta({"type": "input_json_delta", "partial_json": call.arguments}))
        if piece.finish:
            self._finish, self._stop = piece.finish, piece.stop
        return events

    def _end(self) -> None:
        called = any(block["type"] == "tool_use" for block in self._blocks)
        reason = _REASONS.get(self._finish, "end_turn")
        if reason == "end_turn" and called:
            reason = "tool_use"  # A call by name ends with `stop`.
        if reason == "end_turn" and self._stop is not None:
            reason = "stop_sequence"
            self._message["stop_sequence"] = self._stop
        self._message["stop_reason"] = reason

    def _into(self, block: Block) -> list[Event]:
        """Go on in a block of this type: the open one, or a new one."""
        if self._open and self._blocks[-1]["type"] == block["type"] != "tool_use":
            return []
        events = self._close()
        self._blocks.append(block)
        self._open = True
        shown = dict(block)
        events.append({"type": "content_block_start", "index": len(self._blocks) - 1, "content_block": shown})
        return events

    def _close(self) -> list[Event]:
        if not self._open:
            return []
        self._open = False
        block = self._blocks[-1]
        if block["type"] == "tool_use":
            block["input"] = _arguments(self._arguments)
            self._arguments = ""
        return [{"type": "content_block_stop", "index": len(self._blocks) - 1}]

    def _delta(self, delta: dict[str, Any]) -> Event:
        return {"type": "content_block_delta", "index": len(self._blocks) - 1, "delta": delta}


def _arguments(text: str) -> dict[str, Any]:
    """A tool's input; {} where the model was cut off in the middle of it."""
    try:
        value = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
