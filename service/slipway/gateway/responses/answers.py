"""A chat completion as a Response: whole, or as the events of one, in OpenAI's order and numbered."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import orjson

from slipway.gateway.chat.ids import new_id
from slipway.gateway.chat.pieces import CallPiece, Piece, read
from slipway.gateway.chat.translating import event
from slipway.gateway.errors import APIError
from slipway.gateway.responses.asking import Tools
from slipway.gateway.responses.items import CUSTOM_INPUT, Item

Response = dict[str, Any]
Event = dict[str, Any]
Keep = Callable[[Response], Awaitable[None]]
"""Keeps a response that has ended, before its end is told. Raises APIError."""


def begun(response_id: str, asked: Mapping[str, Any], status: str, now: float) -> Response:
    """A response of which nothing has been said yet; `now` in seconds since 1970."""
    wanted = asked.get("text") or {}
    reasoning = asked.get("reasoning") or {}
    return {
        "id": response_id,
        "object": "response",
        "created_at": int(now),
        "completed_at": None,
        "status": status,
        "background": asked.get("background") is True,
        "error": None,
        "incomplete_details": None,
        "instructions": asked.get("instructions"),
        "max_output_tokens": asked.get("max_output_tokens"),
        "max_tool_calls": asked.get("max_tool_calls"),
        "metadata": asked.get("metadata") or {},
        "model": asked["model"],
        "output": [],
        "parallel_tool_calls": asked.get("parallel_tool_calls", True),
        "previous_response_id": asked.get("previous_response_id"),
        "prompt_cache_key": asked.get("prompt_cache_key"),
        "reasoning": {"effort": reasoning.get("effort"), "summary": None},
        "safety_identifier": asked.get("safety_identifier"),
        "service_tier": "default",
        "store": asked.get("store", True),
        "temperature": asked.get("temperature"),
        "text": {"format": wanted.get("format") or {"type": "text"}, "verbosity": "medium"},
        "tool_choice": asked.get("tool_choice", "auto"),
        "tools": asked.get("tools", []),
        "top_logprobs": asked.get("top_logprobs", 0),
        "top_p": asked.get("top_p"),
        "truncation": "disabled",
        "usage": None,
        "user": asked.get("user"),
    }


def failed(response: Response, code: str, message: str) -> Response:
    """The response, ended by a fault."""
    return {**response, "status": "failed", "error": {"code": code, "message": message}}


def usage_of(counted: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Usage in the words of Responses."""
    if not counted:
        return None
    read_from_cache = (counted.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    thought = (counted.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    given, made = counted.get("prompt_tokens") or 0, counted.get("completion_tokens") or 0
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": read_from_cache, "cache_write_tokens": 0},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": given + made,
    }


class ResponseTranslation:
    """One Response in the making; see `translating.Translation`."""

    def __init__(self, response: Response, keep: Keep, wall: Callable[[], float]) -> None:
        """`response` is as it begins, and as it ends after the answer."""
        self.response = response
        self.keep = keep
        self._wall = wall
        self._tools = Tools(response["tools"])
        self._sequence = 0
        self._open: Item | None = None
        self._call = -1
        """The index of the engine's tool call that is being written."""
        self._arguments = ""
        self._finish = ""

    @property
    def output(self) -> list[Item]:
        """The items so far."""
        found: list[Item] = self.response["output"]
        return found

    def start(self) -> bytes:
        """See Translation."""
        begun = {**self.response, "output": []}
        return b"".join(
            self._told({"type": kind, "response": begun})
            for kind in ("response.created", "response.in_progress")
        )

    def chunk(self, payload: dict[str, Any]) -> bytes:
        """See Translation."""
        return b"".join(map(self._told, self._take(read(payload))))

    async def finish(self) -> bytes:
        """See Translation."""
        closing = b"".join(map(self._told, self._close()))
        self._end()
        await self.keep(self.response)
        return closing + self._told(
            {"type": f"response.{self.response['status']}", "response": self.response}
        )

    async def whole(self, payload: dict[str, Any]) -> bytes:
        """See Translation."""
        self._take(read(payload))
        self._close()
        self._end()
        await self.keep(self.response)
        return orjson.dumps(self.response)

    async def failed(self, code: str, message: str) -> bytes:
        """See Translation."""
        ended = failed(self.response, "server_error", message)
        self.response.update(ended)
        with suppress(APIError):  # While the database is away there is nothing better than to tell it.
            await self.keep(ended)
        return self._told({"type": "response.failed", "response": ended})

    def _end(self) -> None:
        self.response["completed_at"] = int(self._wall())
        if self._finish == "length":
            self.response["status"] = "incomplete"
            self.response["incomplete_details"] = {"reason": "max_output_tokens"}
        else:
            self.response["status"] = "completed"

    def _told(self, payload: Event) -> bytes:
        payload["sequence_number"] = self._sequence
        self._sequence += 1
        return event(payload["type"], payload)

    # --- items ------------------------------------------------------------------------------------

    def _take(self, piece: Piece) -> list[Event]:
        events: list[Event] = []
        if piece.usage is not None:
            self.response["usage"] = usage_of(piece.usage)
        if piece.finish:
            self._finish = piece.finish
        if piece.reasoning:
            events += self._into("reasoning")
            events.append(self._add("response.reasoning_text.delta", piece.reasoning))
        if piece.text:
            events += self._into("message")
            logprobs = [_logprob(each) for each in piece.logprobs]
            self._part["logprobs"] += logprobs
            events.append(self._add("response.output_text.delta", piece.text) | {"logprobs": logprobs})
        for call in piece.calls:
            events += self._take_call(call)
        return events

    def _take_call(self, call: CallPiece) -> list[Event]:
        events: list[Event] = []
        if call.name and call.index != self._call:
            events += self._close()
            self._call = call.index
            events += self._begin(self._called(call.name))
        item = self._open
        if not call.arguments or item is None or not item["type"].endswith("_call"):
            return events
        self._arguments += call.arguments
        if item["type"] == "function_call":
            item["arguments"] = self._arguments
            events.append(self._event("response.function_call_arguments.delta", delta=call.arguments))
        return events

    def _called(self, name: str) -> Item:
        tool = self._tools.called(name)
        item: Item = {"call_id": new_id("call"), "name": tool["name"], "status": "in_progress"}
        if tool.get("namespace"):
            item["namespace"] = tool["namespace"]
        if tool["type"] == "custom":
            return {"id": new_id("ctc"), "type": "custom_tool_call", "input": "", **item}
        return {"id": new_id("fc"), "type": "function_call", "arguments": "", **item}

    @property
    def _part(self) -> dict[str, Any]:
        assert self._open is not None  # noqa: S101 - for the type checker
        part: dict[str, Any] = self._open["content"][0]
        return part

    def _add(self, kind: str, text: str) -> Event:
        self._part["text"] += text
        return self._event(kind, content_index=0, delta=text)

    def _into(self, kind: str) -> list[Event]:
        """Go on in an item of this type: the open one, or a new one."""
        if self._open is not None and self._open["type"] == kind:
            return []
        events = self._close()
        item: Item = {
            "id": new_id("msg" if kind == "message" else "rs"),
            "type": kind,
            "status": "in_progress",
        }
        if kind == "message":
            item["role"] = "assistant"
            part: dict[str, Any] = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        else:
            item["summary"] = []
            part = {"type": "reasoning_text", "text": ""}
        events += self._begin({**item, "content": []})
        assert self._open is not None  # noqa: S101 - for the type checker
        self._open["content"].append(part)
        events.append(self._event("response.content_part.added", content_index=0, part=dict(part)))
        return events

    def _begin(self, item: Item) -> list[Event]:
        self.output.append(item)
        self._open = item
        return [
            self._placed("response.output_item.added", {**item, "content": []} if "content" in item else item)
        ]

    def _close(self) -> list[Event]:
        item = self._open
        if item is None:
            return []
        item["status"] = "incomplete" if self._finish == "length" else "completed"
        events: list[Event] = []
        match item["type"]:
            case "function_call":
                arguments = {"name": item["name"], "arguments": item["arguments"]}
                events.append(self._event("response.function_call_arguments.done", **arguments))
            case "custom_tool_call":
                item["input"] = _custom_input(self._arguments)
                if item["input"]:
                    events.append(self._event("response.custom_tool_call_input.delta", delta=item["input"]))
                events.append(self._event("response.custom_tool_call_input.done", input=item["input"]))
            case "message":
                text = {"text": self._part["text"], "logprobs": self._part["logprobs"]}
                events.append(self._event("response.output_text.done", content_index=0, **text))
            case _:
                text = {"text": self._part["text"]}
                events.append(self._event("response.reasoning_text.done", content_index=0, **text))
        if "content" in item:
            part = dict(self._part)
            events.append(self._event("response.content_part.done", content_index=0, part=part))
        events.append(self._placed("response.output_item.done", item))
        self._open, self._arguments = None, ""
        return events

    def _event(self, kind: str, **fields: Any) -> Event:
        assert self._open is not None  # noqa: S101 - for the type checker
        return {"type": kind, "item_id": self._open["id"], "output_index": len(self.output) - 1, **fields}

    def _placed(self, kind: str, item: Item) -> Event:
        return {"type": kind, "output_index": len(self.output) - 1, "item": dict(item)}


def _logprob(found: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: found.get(name) for name in ("token", "logprob", "bytes")}
    top = [
        {name: each.get(name) for name in ("token", "logprob", "bytes")}
        for each in found.get("top_logprobs") or ()
    ]
    return {**shown, "top_logprobs": top}


def _custom_input(arguments: str) -> str:
    """The text in the arguments of a custom tool; the arguments themselves where the model wrote no JSON."""
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    text = value.get(CUSTOM_INPUT) if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments
