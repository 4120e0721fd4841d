"""Every field of a Messages request: honoured, without effect, or refused by name (anthropic-python 2).

Coding agents send much that is about Anthropic's own service (caching, context editing, labels). What can be
left out without a change to what the caller relies on is taken and has no effect; what promises something
that is not kept here (a region, a container, hosted tools) is refused.
"""

from typing import Any

from slipway.gateway import bounds
from slipway.gateway.messages.blocks import MESSAGE, SYSTEM
from slipway.gateway.parameters import CACHE_SALT, Table
from slipway.gateway.rules import (
    Problem,
    Rule,
    array,
    boolean,
    ignored,
    integer,
    mapping,
    number,
    one_of,
    refused,
    text,
)
from slipway.gateway.settings import GatewaySettings

LONGEST_NAME = 128
_CACHED = "Equal prefixes are cached by themselves."


def _object(note: str) -> Rule:
    def check(value: Any) -> Problem | None:
        return None if type(value) is dict else ("", "must be an object")

    return Rule(check, {"type": "object", "description": note}, forward=False)


def _none(why: str) -> Rule:
    """A list that can only be empty."""

    def check(value: Any) -> Problem | None:
        return None if value == [] else ("", why)

    return Rule(check, {"type": "array", "maxItems": 0, "description": why}, forward=False)


def _tools(settings: GatewaySettings) -> Rule:
    own = mapping(
        {
            "type": one_of("custom"),
            "name": text(LONGEST_NAME, shortest=1),
            "description": text(65_536),
            "input_schema": bounds.json_schema(settings),
            "strict": boolean(),
            "cache_control": _object(_CACHED),
            "defer_loading": boolean("Without effect: all tools are shown to the model."),
            "eager_input_streaming": boolean("Without effect."),
            "input_examples": array(_object(""), 64, "Without effect."),
            "allowed_callers": array(one_of("direct"), 1),
        },
        required=("name", "input_schema"),
    )

    def check(value: Any) -> Problem | None:
        if type(value) is dict and value.get("type") not in (None, "custom"):
            kind = str(value["type"])[:64]
            return ".type", (
                f"can only be `custom`: `{kind}` is run by Anthropic or known to its models only; "
                "give your own tools with `name` and `input_schema`"
            )
        return own.check(value)

    return array(Rule(check, own.schema), 128, "Functions that the model may call.")


def _shared(settings: GatewaySettings) -> dict[str, Rule]:
    effort = one_of("low", "medium", "high", "xhigh", "max")
    output_format = mapping(
        {"type": one_of("json_schema"), "schema": bounds.json_schema(settings)}, required=("type", "schema")
    )
    return {
        "model": text(253, "The served name, from GET /v1/models.", shortest=1),
        "messages": array(MESSAGE, settings.max_messages, "The conversation so far.", least=1),
        "system": SYSTEM,
        "tools": _tools(settings),
        "tool_choice": mapping(
            {
                "type": one_of("auto", "any", "tool", "none"),
                "name": text(LONGEST_NAME, shortest=1),
                "disable_parallel_tool_use": boolean(),
            },
            required=("type",),
        ),
        "thinking": mapping(
            {
                "type": one_of("enabled", "adaptive", "between_tools", "disabled"),
                "budget_tokens": integer(
                    1, 1_000_000, "Without effect: thoughts end with `max_tokens` at the latest."
                ),
                "display": one_of("summarized", "omitted"),
            },
            "`disabled` asks a model that thinks not to; otherwise it thinks as its template says.",
            required=("type",),
        ),
        "output_config": mapping(
            {"effort": effort, "format": output_format, "task_budget": _object("Without effect.")}
        ),
        "cache_control": _object(_CACHED),
        "context_management": _object("The conversation is taken as it is sent."),
        "mcp_servers": _none("can only be empty: this server calls no other servers"),
        "speed": one_of("standard", forward=False),
        "compaction": refused("is not offered: the conversation is taken as it is sent"),
        "billing_policy": refused("belongs to Anthropic's own service"),
        "user_profile_id": refused("belongs to Anthropic's own service"),
        "workspace_id": refused("belongs to Anthropic's own service"),
    }


def messages(settings: GatewaySettings) -> Table:
    """POST /v1/messages."""
    return {
        **_shared(settings),
        "max_tokens": integer(
            1,
            10_000_000,
            "Most tokens of the answer; more than the model or the server takes means as many as they take.",
        ),
        "stop_sequences": array(text(256, shortest=1), 16),
        "stream": boolean("Send the answer as it is made, as server-sent events."),
        "temperature": number(0, 1),
        "top_p": number(0.0000001, 1),
        "top_k": integer(0, 1_000_000),
        "metadata": ignored(mapping({"user_id": text(2048)}, "A label.")),
        "service_tier": one_of("auto", "standard_only", note="This server has one tier.", forward=False),
        "diagnostics": _object(""),
        "cache_salt": text(1024, CACHE_SALT, shortest=1),
        "container": refused("is not offered: this server runs no code"),
        "inference_geo": refused("is not offered: answers come from where this server runs"),
        "fallbacks": _none("can only be empty: a model's fallbacks are set by those who run the server"),
        "fallback_credit_token": refused("belongs to Anthropic's own service"),
        "thread": refused("is not offered"),
    }


def count_tokens(settings: GatewaySettings) -> Table:
    """POST /v1/messages/count_tokens."""
    return _shared(settings)
