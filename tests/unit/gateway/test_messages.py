"""Anthropic's Messages: every field is known, conversations come out right, events in their order."""

import asyncio
import json
import typing
from typing import Any

import pytest
from anthropic.types import (
    content_block_param,
    message_count_tokens_params,
    message_create_params,
    output_config_param,
    thinking_config_param,
    tool_param,
)
from anthropic.types.beta import message_count_tokens_params as beta_count_params
from anthropic.types.beta import message_create_params as beta_create_params
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.gateway.dialects.anthropic import error
from slipway.gateway.errors import APIError
from slipway.gateway.messages import asking
from slipway.gateway.messages.answers import MessageTranslation
from slipway.gateway.messages.blocks import _FIELDS
from slipway.gateway.parameters import check
from slipway.gateway.routes import relayed_routes
from slipway.gateway.settings import GatewaySettings

ROUTES = relayed_routes(GatewaySettings())
CREATE, COUNT, CHAT = "/v1/messages", "/v1/messages/count_tokens", "/v1/chat/completions"
HI: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
WEATHER = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def fields_of(*kinds: Any) -> set[str]:
    return set().union(*(kind.__annotations__ for kind in kinds))


@pytest.mark.parametrize(
    ("path", "kinds"),
    [
        (CREATE, (message_create_params.MessageCreateParamsBase, beta_create_params.MessageCreateParamsBase)),
        (CREATE, (message_create_params.MessageCreateParamsStreaming,)),
        (
            COUNT,
            (
                message_count_tokens_params.MessageCountTokensParams,
                beta_count_params.MessageCountTokensParams,
            ),
        ),
    ],
)
def test_every_field_of_anthropics_client_is_known(path: str, kinds: tuple[Any, ...]) -> None:
    header = {"betas"}  # Sent as `anthropic-beta`.
    assert fields_of(*kinds) - header - set(ROUTES[path].table) == set()


def test_every_field_of_a_tool_is_known() -> None:
    for name in tool_param.ToolParam.__annotations__:
        body = {"tools": [{**WEATHER, name: None}]}
        assert check(ROUTES[CREATE].table, body) == []


def test_every_field_of_the_settings_of_an_answer_is_known() -> None:
    for name in output_config_param.OutputConfigParam.__annotations__:
        check(ROUTES[CREATE].table, {"output_config": {name: None}})
    for kind in typing.get_args(thinking_config_param.ThinkingConfigParam):
        (name,) = typing.get_args(typing.get_type_hints(kind)["type"])
        body = dict.fromkeys(kind.__annotations__) | {"type": name}
        check(ROUTES[CREATE].table, {"thinking": body})


@pytest.mark.parametrize("kind", typing.get_args(content_block_param.ContentBlockParam))
def test_every_field_of_a_block_is_known_or_the_block_is_refused_by_name(kind: Any) -> None:
    (name,) = typing.get_args(typing.get_type_hints(kind)["type"])
    if name in _FIELDS:
        assert set(kind.__annotations__) - {"type", "cache_control"} <= _FIELDS[name]
    else:
        param = refusal(messages=[{"role": "user", "content": [{"type": name}]}])
        assert param == "messages[0].content[0].type"


def refusal(**body: Any) -> str:
    with pytest.raises(APIError) as caught:
        check(ROUTES[CREATE].table, body)
    assert caught.value.status == 400
    assert caught.value.param
    return caught.value.param


PICTURE = {"type": "base64", "media_type": "image/png", "data": "AA"}


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("unheard_of", 1, "unheard_of"),
        ("max_tokens", 0, "max_tokens"),
        ("temperature", 1.5, "temperature"),
        ("stream", 1, "stream"),
        ("container", "c", "container"),
        ("inference_geo", "eu", "inference_geo"),
        ("mcp_servers", [{"type": "url", "url": "http://x", "name": "x"}], "mcp_servers"),
        ("fallbacks", [{"model": "x"}], "fallbacks"),
        ("tools", [{"type": "web_search_20250305", "name": "web_search"}], "tools[0].type"),
        ("tools", [{"type": "bash_20250124", "name": "bash"}], "tools[0].type"),
        ("tools", [{"name": "x"}], "tools[0].input_schema"),
        ("tools", [{**WEATHER, "input_schema": {"pattern": "a" * 600}}], "tools[0].input_schema"),
        ("tool_choice", {"type": "some"}, "tool_choice.type"),
        ("thinking", {"type": "sometimes"}, "thinking.type"),
        ("output_config", {"format": {"type": "json_schema"}}, "output_config.format.schema"),
        ("system", [{"type": "image", "source": PICTURE}], "system[0].type"),
        ("system", [{"type": "text", "text": "x", "url": "y"}], "system[0].url"),
        ("messages", [], "messages"),
        ("messages", [{"role": "tool", "content": "x"}], "messages[0].role"),
        ("messages", [{"role": "user", "content": "x", "name": "y"}], "messages[0].name"),
        ("messages", [{"role": "assistant", "content": [{"type": "image"}]}], "messages[0].content[0].type"),
    ],
)
def test_what_is_refused(field: str, value: Any, param: str) -> None:
    assert refusal(**{field: value}) == param


@pytest.mark.parametrize(
    ("block", "where"),
    [
        ({"type": "image", "source": {"type": "url", "url": "http://169.254.169.254/"}}, ".source.type"),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, ".source.type"),
        ({"type": "image", "source": {**PICTURE, "url": "http://x"}}, ".source.url"),
        ({"type": "image", "source": {"type": "base64"}}, ".source.media_type"),
        ({"type": "document", "source": {"type": "url", "url": "http://x"}}, ".source.type"),
        ({"type": "document", "source": {**PICTURE}}, ".source.type"),
        (
            {
                "type": "document",
                "source": {"type": "text", "data": "x"},
                "citations": {"enabled": True},
            },
            ".citations",
        ),
        ({"type": "tool_result", "content": "x"}, ".tool_use_id"),
        (
            {
                "type": "tool_result",
                "tool_use_id": "t",
                "content": [{"type": "image", "source": {"type": "url", "url": "http://x"}}],
            },
            ".content[0].source.type",
        ),
        ({"type": "text", "text": 1}, ".text"),
    ],
)
def test_what_a_block_may_not_hold(block: dict[str, Any], where: str) -> None:
    assert refusal(messages=[{"role": "user", "content": [block]}]) == f"messages[0].content[0]{where}"


def asked(**fields: Any) -> dict[str, Any]:
    """The chat completion of a request, which that route's own rules take too."""
    body = {"model": "m", "max_tokens": 50, "messages": HI, **fields}
    check(ROUTES[CREATE].table, body)
    chat = asking.chat(body, 4096)
    check(ROUTES[CHAT].table, chat)
    return chat


# What a coding agent was seen to send.
AGENT: dict[str, Any] = {
    "messages": [
        {
            "role": "user",
            "content": [{"type": "text", "text": "say hi", "cache_control": {"type": "ephemeral"}}],
        },
        {"role": "system", "content": "Available agent types: …"},
    ],
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1;"},
        {"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ],
    "tools": [{**WEATHER, "description": "d" * 20_000, "eager_input_streaming": True, "defer_loading": True}],
    "metadata": {"user_id": "{}" * 100},
    "max_tokens": 32_000,
    "thinking": {"type": "adaptive", "display": "summarized"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "output_config": {"effort": "high"},
    "stream": True,
}


def test_what_a_coding_agent_sends_is_taken() -> None:
    chat = asked(**AGENT)
    assert chat["messages"] == [
        {"role": "system", "content": "You are an agent."},
        {
            "role": "user",
            "content": "say hi\n<system-reminder>\nAvailable agent types: …\n</system-reminder>",
        },
    ]
    assert chat["max_tokens"] == 4096  # What the model takes, not what agents ask every model for.
    assert chat["reasoning_effort"] == "high"
    assert chat["stream_options"]["include_usage"]
    assert "metadata" not in chat
    assert "context_management" not in chat


def test_a_turn_with_tools_becomes_calls_and_results() -> None:
    chat = asked(
        messages=[
            *HI,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "redacted_thinking", "data": "zz"},
                    {"type": "text", "text": "Let me look."},
                    {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Paris"}},
                    {"type": "tool_use", "id": "t2", "name": "get_weather", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t1",
                        "content": [{"type": "text", "text": "sunny"}, {"type": "image", "source": PICTURE}],
                    },
                    {"type": "tool_result", "tool_use_id": "t2", "content": "no city", "is_error": True},
                    {"type": "text", "text": "So?"},
                ],
            },
        ],
        tools=[WEATHER],
    )
    _, assistant, first, second, user = chat["messages"]
    assert assistant["content"] == "Let me look."
    assert assistant["reasoning"] == "hm"
    assert [json.loads(call["function"]["arguments"]) for call in assistant["tool_calls"]] == [
        {"city": "Paris"},
        {},
    ]
    assert first == {"role": "tool", "tool_call_id": "t1", "content": "sunny"}
    assert second == {"role": "tool", "tool_call_id": "t2", "content": "Error: no city"}
    assert [part["type"] for part in user["content"]] == ["image_url", "text"]
    assert user["content"][0]["image_url"]["url"] == "data:image/png;base64,AA"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, "auto"),
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "get_weather"}, {"type": "function", "function": {"name": "get_weather"}}),
    ],
)
def test_tool_choices(choice: Any, expected: Any) -> None:
    assert asked(tools=[WEATHER], tool_choice=choice)["tool_choice"] == expected


def test_one_tool_at_a_time() -> None:
    chat = asked(tools=[WEATHER], tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    assert chat["parallel_tool_calls"] is False


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "x"}])
def test_a_choice_among_no_tools_is_refused(choice: Any) -> None:
    with pytest.raises(APIError, match="tool_choice"):
        asked(tool_choice=choice)
    with pytest.raises(APIError, match="tool_choice"):
        asked(tools=[WEATHER], tool_choice={"type": "tool", "name": "x"})


def test_a_schema_a_stop_and_no_thoughts() -> None:
    schema = {"type": "object"}
    chat = asked(
        output_config={"format": {"type": "json_schema", "schema": schema}, "effort": "low"},
        stop_sequences=["END"],
        thinking={"type": "disabled"},
    )
    assert chat["response_format"]["json_schema"]["schema"] == schema
    assert chat["stop"] == ["END"]
    assert chat["reasoning_effort"] == "none"


# --- answers --------------------------------------------------------------------------------------


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def call(index: int, name: str | None = None, arguments: str | None = None) -> dict[str, Any]:
    function = {"name": name} if name else {"arguments": arguments}
    return {"tool_calls": [{"index": index, "function": function}]}


USAGE = {
    "choices": [],
    "usage": {"prompt_tokens": 40, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 32}},
}


def streamed(*chunks: dict[str, Any]) -> list[dict[str, Any]]:
    translation = MessageTranslation("m")
    data = b"".join(map(translation.chunk, chunks)) + asyncio.run(translation.finish())
    events = []
    for each in data.decode().split("\n\n")[:-1]:
        name, payload = each.split("\n")
        events.append(json.loads(payload.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def test_a_stream_of_thoughts_text_and_two_calls() -> None:
    events = streamed(
        {**chunk(role="assistant", content=""), "usage": {"prompt_tokens": 40, "completion_tokens": 0}},
        chunk(reasoning="h"),
        chunk(reasoning="m"),
        chunk(content="Look"),
        chunk(content="ing."),
        chunk(**call(0, name="f")),
        chunk(**call(0, arguments='{"a"')),
        chunk(**call(0, arguments=":1}")),
        chunk(**call(1, name="g")),
        chunk("tool_calls"),
        USAGE,
    )
    assert [event["type"].removeprefix("content_block_") for event in events] == [
        "message_start",
        "start",
        "delta",
        "delta",
        "stop",
        "start",
        "delta",
        "delta",
        "stop",
        "start",
        "delta",
        "delta",
        "stop",
        "start",
        "stop",
        "message_delta",
        "message_stop",
    ]
    assert [event.get("index") for event in events] == [
        None,
        0,
        0,
        0,
        0,
        *[1] * 4,
        *[2] * 4,
        3,
        3,
        None,
        None,
    ]
    begun = events[0]["message"]
    assert begun["usage"]["input_tokens"] == 40
    assert begun["content"] == []
    assert begun["stop_reason"] is None
    assert events[1]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}
    assert [event["content_block"]["name"] for event in (events[9], events[13])] == ["f", "g"]
    assert events[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert events[-2]["usage"] == {
        "input_tokens": 8,
        "cache_read_input_tokens": 32,
        "cache_creation_input_tokens": 0,
        "output_tokens": 9,
    }


@settings(deadline=None)
@given(st.lists(st.sampled_from(["reasoning", "content", "call", "arguments"]), max_size=12))
def test_blocks_open_and_close_one_at_a_time_whatever_comes(kinds: list[str]) -> None:
    calls = 0
    chunks = []
    for kind in kinds:
        if kind == "call":
            chunks.append(chunk(**call(calls, name="f")))
            calls += 1
        elif kind == "arguments":
            chunks.append(chunk(**call(max(0, calls - 1), arguments="{}")))
        else:
            chunks.append(chunk(**{kind: "x"}))
    events = streamed(*chunks, chunk("stop"), USAGE)
    open_block: int | None = None
    following = 0
    for event in events:
        if event["type"] == "content_block_start":
            assert open_block is None
            assert event["index"] == following
            open_block, following = following, following + 1
        elif event["type"] == "content_block_delta":
            assert event["index"] == open_block
        elif event["type"] == "content_block_stop":
            assert event["index"] == open_block
            open_block = None
    assert open_block is None


def whole(finish: str, stop: object = None, **message: Any) -> dict[str, Any]:
    payload = {"choices": [{"message": message, "finish_reason": finish, "stop_reason": stop}], **USAGE}
    payload["choices"] = [{"message": message, "finish_reason": finish, "stop_reason": stop}]
    answer: dict[str, Any] = json.loads(asyncio.run(MessageTranslation("m").whole(payload)))
    return answer


@pytest.mark.parametrize(
    ("finish", "stop", "reason", "sequence"),
    [
        ("stop", None, "end_turn", None),
        ("stop", 2, "end_turn", None),
        ("stop", "END", "stop_sequence", "END"),
        ("length", None, "max_tokens", None),
    ],
)
def test_why_an_answer_ended(finish: str, stop: object, reason: str, sequence: str | None) -> None:
    answer = whole(finish, stop, content="x")
    assert (answer["stop_reason"], answer["stop_sequence"]) == (reason, sequence)


def test_a_whole_answer_with_a_call_that_was_forced() -> None:
    tool = {"id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    answer = whole("stop", content="", tool_calls=[tool])
    (block,) = answer["content"]
    assert (block["type"], block["name"], block["input"]) == ("tool_use", "f", {"a": 1})
    assert answer["stop_reason"] == "tool_use"


def test_a_call_that_was_cut_off_has_no_input_and_says_why() -> None:
    tool = {"id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a": '}}
    answer = whole("length", tool_calls=[tool])
    assert answer["content"][0]["input"] == {}
    assert answer["stop_reason"] == "max_tokens"


def test_an_empty_answer_has_a_block() -> None:
    assert whole("stop", content="")["content"] == [{"type": "text", "text": ""}]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (431, "invalid_request_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
    ],
)
def test_errors_in_anthropics_words(status: int, kind: str) -> None:
    told = json.loads(error(APIError(status, "code", "Words.")))
    assert told == {"type": "error", "error": {"type": kind, "message": "Words."}}
