"""A Messages request in terms of chat completions, and of /tokenize for the counting of tokens."""

from collections.abc import Mapping
from typing import Any

from slipway.gateway.chat.turns import Turns
from slipway.gateway.errors import invalid_request
from slipway.gateway.messages.blocks import system_text, tell

Body = dict[str, Any]

_AS_THEY_ARE = ("model", "temperature", "top_p", "top_k", "cache_salt", "stream")
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def conversation(asked: Mapping[str, Any]) -> list[Body]:
    """The chat messages of a checked request."""
    turns = Turns()
    if asked.get("system"):
        turns.system(system_text(asked["system"]))
    for message in asked["messages"]:
        tell(turns, message)
    return turns.messages


def functions(asked: Mapping[str, Any]) -> list[Body]:
    """The tools as chat completions take them."""
    tools: list[Body] = []
    for tool in asked.get("tools") or ():
        function: Body = {"name": tool["name"], "parameters": tool["input_schema"]}
        for name in ("description", "strict"):
            if tool.get(name) is not None:
                function[name] = tool[name]
        tools.append({"type": "function", "function": function})
    return tools


def chat(asked: Mapping[str, Any], most: int) -> Body:
    """The chat completion to ask for; `most` bounds the tokens of the answer. Raises APIError."""
    body: Body = {name: asked[name] for name in _AS_THEY_ARE if name in asked}
    body["messages"] = conversation(asked)
    body["max_tokens"] = min(asked["max_tokens"], most)
    if asked.get("stop_sequences"):
        body["stop"] = asked["stop_sequences"]
    if body.get("stream"):
        # The beginning of a stream tells the tokens of the prompt.
        body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    _choose_tools(asked, body)
    _shape(asked, body)
    return body


def counting(asked: Mapping[str, Any]) -> Body:
    """What to ask of /tokenize for the tokens of a request's prompt."""
    body: Body = {"model": asked["model"], "messages": conversation(asked)}
    if tools := functions(asked):
        body["tools"] = tools
    return body


def _choose_tools(asked: Mapping[str, Any], body: Body) -> None:
    tools = functions(asked)
    choice = asked.get("tool_choice") or {"type": "auto"}
    if not tools:
        if choice["type"] in ("any", "tool"):
            raise invalid_request("`tool_choice` needs `tools`.", "tool_choice")
        return
    body["tools"] = tools
    if choice["type"] == "tool":
        name = choice.get("name")
        if all(tool["function"]["name"] != name for tool in tools):
            raise invalid_request("`tool_choice.name` is not one of `tools`.", "tool_choice.name")
        body["tool_choice"] = {"type": "function", "function": {"name": name}}
    else:
        body["tool_choice"] = _CHOICES[choice["type"]]
    if choice.get("disable_parallel_tool_use"):
        body["parallel_tool_calls"] = False


def _shape(asked: Mapping[str, Any], body: Body) -> None:
    output = asked.get("output_config") or {}
    if output.get("format"):
        named = {"name": "answer", "schema": output["format"]["schema"], "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    if (asked.get("thinking") or {}).get("type") == "disabled":
        body["reasoning_effort"] = "none"
    elif output.get("effort"):
        body["reasoning_effort"] = output["effort"]
