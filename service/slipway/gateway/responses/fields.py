"""Every field of a Responses request: honoured, without effect, or refused by name (openai-python 3)."""

from typing import Any

from slipway.gateway import bounds
from slipway.gateway.parameters import CACHE_SALT, INT64, Table
from slipway.gateway.responses.items import ITEM
from slipway.gateway.rules import (
    Problem,
    Rule,
    array,
    boolean,
    either,
    ignored,
    integer,
    mapping,
    number,
    one_of,
    only,
    refused,
    text,
)
from slipway.gateway.settings import GatewaySettings

_LONGEST_NAME = 128
_INCLUDABLE = (
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
)
LOGPROBS = "message.output_text.logprobs"


def _one_tool(settings: GatewaySettings) -> Rule:
    function = mapping(
        {
            "type": one_of("function"),
            "name": text(_LONGEST_NAME, shortest=1),
            "description": text(65_536),
            "parameters": bounds.json_schema(settings),
            "strict": boolean(),
            "defer_loading": boolean("Without effect: all tools are shown to the model."),
            "allowed_callers": array(one_of("direct"), 1),
            "output_schema": bounds.json_schema(settings, "Without effect."),
            "async": only(False, "can only be false: calls are awaited"),
        },
        required=("type", "name"),
    )
    custom = mapping(
        {
            "type": one_of("custom"),
            "name": text(_LONGEST_NAME, shortest=1),
            "description": text(65_536),
            "format": mapping({"type": one_of("text")}, "Free text; grammars are not offered."),
            "defer_loading": boolean(),
            "allowed_callers": array(one_of("direct"), 1),
            "async": only(False, "can only be false: calls are awaited"),
        },
        required=("type", "name"),
    )
    return _by_type({"function": function, "custom": custom})


def _by_type(kinds: dict[str, Rule]) -> Rule:
    named = ", ".join(f"`{kind}`" for kind in kinds)

    def check(value: Any) -> Problem | None:
        if type(value) is not dict:
            return "", "must be an object"
        kind = value.get("type")
        rule = kinds.get(kind) if type(kind) is str else None
        if rule is None:
            return (
                ".type",
                f"can be {named}; `{str(kind)[:64]}` is not offered: this server runs no tools itself",
            )
        return rule.check(value)

    return Rule(check, {"anyOf": [rule.schema for rule in kinds.values()]})


def tool(settings: GatewaySettings) -> Rule:
    """A function, a custom tool, or a namespace of those."""
    one = _one_tool(settings)
    namespace = mapping(
        {
            "type": one_of("namespace"),
            "name": text(64, shortest=1),
            "description": text(65_536),
            "tools": array(one, 128),
        },
        required=("type", "name", "tools"),
    )

    def check(value: Any) -> Problem | None:
        if type(value) is dict and value.get("type") == "namespace":
            return namespace.check(value)
        return one.check(value)

    return Rule(check, {"anyOf": [*one.schema["anyOf"], namespace.schema]})


def _tools(settings: GatewaySettings) -> Rule:
    item = Rule(tool(settings).check, {"$ref": "#/components/schemas/ResponseTool"})
    return array(item, 128, "Functions that the model may call; hosted tools are not offered.")


def _tool_choice() -> Rule:
    name = text(_LONGEST_NAME, shortest=1)
    named = mapping({"type": one_of("function", "custom"), "name": name}, required=("type", "name"))
    allowed = mapping(
        {
            "type": one_of("allowed_tools"),
            "mode": one_of("auto", "required"),
            "tools": array(named, 128, least=1),
        },
        required=("type", "mode", "tools"),
    )
    return either(
        "must be `none`, `auto`, `required`, `{type: function, name}`, `{type: allowed_tools, mode, tools}`",
        one_of("none", "auto", "required"),
        named,
        allowed,
    )


def _text(settings: GatewaySettings) -> Rule:
    shape = mapping(
        {
            "type": one_of("text", "json_object", "json_schema"),
            "name": text(64, shortest=1),
            "description": text(4096),
            "schema": bounds.json_schema(settings),
            "strict": boolean(),
        },
        required=("type",),
    )

    def check(value: Any) -> Problem | None:
        problem = shape.check(value)
        if problem is None and value["type"] == "json_schema":
            for name in ("name", "schema"):
                if value.get(name) is None:
                    return f".{name}", "is required with `type: json_schema`"
        return problem

    return mapping({"format": Rule(check, shape.schema), "verbosity": one_of("medium")})


def _metadata() -> Rule:
    def check(value: Any) -> Problem | None:
        if type(value) is not dict or len(value) > 16:
            return "", "must be an object of at most 16 fields"
        for name, each in value.items():
            if len(name) > 64 or type(each) is not str or len(each) > 512:
                return f".{name[:64]}", "must be a string of at most 512 characters, its name of at most 64"
        return None

    schema = {
        "type": "object",
        "maxProperties": 16,
        "propertyNames": {"maxLength": 64},
        "additionalProperties": {"type": "string", "maxLength": 512},
        "description": "Kept with the response.",
    }
    return Rule(check, schema)


def _labels() -> Rule:
    """What coding agents tell about themselves."""

    def check(value: Any) -> Problem | None:
        return None if type(value) is dict else ("", "must be an object")

    return Rule(check, {"type": "object", "description": "Labels."})


def _shared(settings: GatewaySettings) -> dict[str, Rule]:
    """What makes the prompt, and so counts for the counting of its tokens too."""
    effort = one_of("none", "minimal", "low", "medium", "high", "xhigh", "max")
    summary = one_of("auto", "concise", "detailed", note="Without effect: thoughts are given whole.")
    return {
        "model": text(253, "The served name, from GET /v1/models.", shortest=1),
        "input": either_input(settings),
        "instructions": text(
            settings.max_body, "What the operator says; not carried over to the next response."
        ),
        "previous_response_id": text(128, "Goes on from this response.", shortest=1),
        "tools": _tools(settings),
        "tool_choice": _tool_choice(),
        "parallel_tool_calls": boolean(),
        "reasoning": mapping(
            {
                "effort": effort,
                "summary": summary,
                "generate_summary": summary,
                "context": one_of("auto", "current_turn", "all_turns", note="Without effect."),
            }
        ),
        "text": _text(settings),
        "truncation": only(
            "disabled", "can only be `disabled`: a conversation that is too long is refused, not cut"
        ),
        "conversation": refused("is not offered; use `previous_response_id`"),
    }


def either_input(settings: GatewaySettings) -> Rule:
    """Text, or items, whose problems are told where they are."""
    words = text(settings.max_body)
    items = array(ITEM, settings.max_messages)

    def check(value: Any) -> Problem | None:
        return words.check(value) if type(value) is str else items.check(value)

    return Rule(check, {"anyOf": [words.schema, items.schema], "description": "A text, or items."})


def responses(settings: GatewaySettings) -> Table:
    """POST /v1/responses."""
    label = ignored(text(512, "A label for the end user."))
    return {
        **_shared(settings),
        "max_output_tokens": integer(1, 10_000_000, "Most tokens of the answer; what is too much is cut."),
        "max_tool_calls": ignored(integer(1, 1_000_000, "It bounds hosted tools.")),
        "temperature": number(0, 2),
        "top_p": number(0.0000001, 1),
        "top_logprobs": integer(0, 20, f"Needs `include: [{LOGPROBS}]`."),
        "include": array(
            one_of(*_INCLUDABLE), len(_INCLUDABLE), "Log probabilities; the others have no effect."
        ),
        "stream": boolean("Send the answer as it is made, as server-sent events."),
        "stream_options": ignored(mapping({"include_obfuscation": boolean("Nothing is added.")})),
        "store": boolean("Keep the response, so that it can be shown and gone on from (default: true)."),
        "background": boolean("Answer at once with an id; the response is made meanwhile."),
        "metadata": _metadata(),
        "user": label,
        "safety_identifier": label,
        "prompt_cache_key": ignored(text(512, "A label; equal prefixes are cached without it.")),
        "prompt_cache_retention": one_of("in_memory", forward=False),
        "service_tier": one_of("auto", "default", note="This server has one tier.", forward=False),
        "client_metadata": ignored(_labels()),
        # Slipway's and vLLM's own.
        "cache_salt": text(1024, CACHE_SALT, shortest=1),
        "chat_template_kwargs": bounds.template_kwargs(),
        "frequency_penalty": number(-2, 2),
        "presence_penalty": number(-2, 2),
        "repetition_penalty": number(0.01, 10),
        "min_p": number(0, 1),
        "top_k": integer(-1, 1_000_000),
        "seed": integer(-INT64, INT64),
        "ignore_eos": boolean(),
        "stop": bounds.stop(),
        # Not offered.
        "access_programs": refused("belongs to OpenAI's own service"),
        "background_options": refused("is not offered"),
        "context_management": refused("is not offered: a conversation is taken as it is"),
        "image": refused("is not offered: answers are text"),
        "moderation": refused("is not offered"),
        "prompt": refused("is not offered: this server keeps no prompt templates"),
        "prompt_cache_options": refused("is not offered: equal prefixes are cached by themselves"),
    }


def input_tokens(settings: GatewaySettings) -> Table:
    """POST /v1/responses/input_tokens."""
    return {**_shared(settings), "personality": refused("is not offered")}
