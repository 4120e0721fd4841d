"""A Responses request in terms of chat completions, and of /tokenize for the counting of tokens."""

from collections.abc import Mapping, Sequence
from typing import Any

from slipway.gateway.chat.turns import Turns
from slipway.gateway.errors import invalid_request
from slipway.gateway.responses.fields import LOGPROBS
from slipway.gateway.responses.items import CUSTOM_INPUT, Item, flat_name, tell

Body = dict[str, Any]

_AS_THEY_ARE = (
    "model",
    "stream",
    "temperature",
    "top_p",
    "parallel_tool_calls",
    "cache_salt",
    "chat_template_kwargs",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "min_p",
    "top_k",
    "seed",
    "ignore_eos",
    "stop",
)


class Tools:
    """The tools of a request: as the model sees them, and back from the name it calls to the tool meant."""

    def __init__(self, tools: Sequence[Body]) -> None:
        self._flat: dict[str, Body] = {}
        for tool in tools:
            if tool["type"] == "namespace":
                for each in tool["tools"]:
                    self._add({**each, "namespace": tool["name"]})
            else:
                self._add(tool)

    def _add(self, tool: Body) -> None:
        self._flat[flat_name(tool)] = tool

    def __contains__(self, name: str) -> bool:
        return name in self._flat

    def called(self, name: str) -> Body:
        """The tool that the model calls by `name`; one that it made up is a function of that name."""
        return self._flat.get(name) or {"type": "function", "name": name}

    def functions(self, only: set[str] | None = None) -> list[Body]:
        """As chat completions take them."""
        return [_function(name, tool) for name, tool in self._flat.items() if only is None or name in only]


def _function(name: str, tool: Body) -> Body:
    function: Body = {"name": name}
    if tool.get("description"):
        function["description"] = tool["description"]
    if tool["type"] == "custom":
        function["parameters"] = {
            "type": "object",
            "properties": {CUSTOM_INPUT: {"type": "string"}},
            "required": [CUSTOM_INPUT],
            "additionalProperties": False,
        }
    else:
        function["parameters"] = tool.get("parameters") or {"type": "object", "properties": {}}
        if tool.get("strict") is not None:
            function["strict"] = tool["strict"]
    return {"type": "function", "function": function}


def conversation(instructions: str | None, items: Sequence[Item], longest: int) -> list[Body]:
    """The chat messages of instructions and items, earlier responses' included; `longest` bounds them."""
    turns = Turns()
    if instructions:
        turns.system(instructions)
    for item in items:
        tell(turns, item)
    if not turns.messages:
        raise invalid_request("`input` must not be empty.", "input")
    if len(turns.messages) > longest:
        raise invalid_request(
            f"The conversation is too long: it has more than {longest} turns, earlier responses' included.",
            "input",
        )
    return turns.messages


def chat(asked: Mapping[str, Any], items: Sequence[Item], most: int, longest: int) -> Body:
    """The chat completion to ask for; `most` bounds the tokens of the answer, `longest` the turns.

    Raises APIError.
    """
    body: Body = {name: asked[name] for name in _AS_THEY_ARE if name in asked}
    body["messages"] = conversation(asked.get("instructions"), items, longest)
    if "max_output_tokens" in asked:
        body["max_tokens"] = min(asked["max_output_tokens"], most)
    if body.get("stream"):
        body["stream_options"] = {"include_usage": True}
    if LOGPROBS in asked.get("include", ()):
        body["logprobs"] = True
        body["top_logprobs"] = asked.get("top_logprobs", 0)
    if (asked.get("reasoning") or {}).get("effort"):
        body["reasoning_effort"] = asked["reasoning"]["effort"]
    _choose_tools(asked, body)
    _shape((asked.get("text") or {}).get("format") or {"type": "text"}, body)
    return body


def counting(asked: Mapping[str, Any], items: Sequence[Item], longest: int) -> Body:
    """What to ask of /tokenize for the tokens of a request's prompt."""
    body: Body = {
        "model": asked["model"],
        "messages": conversation(asked.get("instructions"), items, longest),
    }
    if tools := Tools(asked.get("tools", ())).functions():
        body["tools"] = tools
    return body


def _choose_tools(asked: Mapping[str, Any], body: Body) -> None:
    tools, choice = Tools(asked.get("tools", ())), asked.get("tool_choice", "auto")
    named = [] if type(choice) is str else choice.get("tools") or [choice]
    for each in named:
        if each["name"] not in tools:
            raise invalid_request("`tool_choice` names a tool that is not one of `tools`.", "tool_choice")
    if not (functions := tools.functions()):
        body.pop("parallel_tool_calls", None)
        if choice == "required":
            raise invalid_request("`tool_choice` needs `tools`.", "tool_choice")
        return
    body["tools"] = functions
    if type(choice) is str:
        body["tool_choice"] = choice
    elif choice["type"] == "allowed_tools":
        body["tools"] = tools.functions({each["name"] for each in named})
        body["tool_choice"] = choice["mode"]
    else:
        body["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}


def _shape(wanted: Mapping[str, Any], body: Body) -> None:
    if wanted["type"] == "json_object":
        body["response_format"] = {"type": "json_object"}
    elif wanted["type"] == "json_schema":
        schema = {
            name: wanted[name]
            for name in ("name", "description", "schema", "strict")
            if wanted.get(name) is not None
        }
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
