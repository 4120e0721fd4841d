"""OpenAI's Responses: every field is known, items become a chat, events come in order and numbered."""

import asyncio
import json
import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import (
    function_tool_param,
    input_token_count_params,
    response_create_params,
    response_input_item_param,
    tool_param,
)

from slipway.gateway.errors import APIError
from slipway.gateway.parameters import check
from slipway.gateway.responses import asking
from slipway.gateway.responses.answers import ResponseTranslation, begun
from slipway.gateway.responses.items import _FIELDS, normal
from slipway.gateway.routes import relayed_routes
from slipway.gateway.settings import GatewaySettings

ROUTES = relayed_routes(GatewaySettings())
CREATE, COUNT, CHAT = "/v1/responses", "/v1/responses/input_tokens", "/v1/chat/completions"
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}


def test_every_field_of_openais_client_is_known() -> None:
    base = response_create_params.ResponseCreateParamsBase
    fields = set(base.__annotations__) | {"stream"}
    assert len(fields) > 25
    assert fields - set(ROUTES[CREATE].table) == set()
    counted = set(input_token_count_params.InputTokenCountParams.__annotations__)
    assert counted - set(ROUTES[COUNT].table) == set()


def test_every_field_of_a_function_is_known() -> None:
    for name in function_tool_param.FunctionToolParam.__annotations__:
        check(ROUTES[CREATE].table, {"tools": [{name: None, **WEATHER}]})


def kind_of(kind: Any) -> str:
    found = typing.get_type_hints(kind).get("type")
    return str(typing.get_args(found)[0]) if found is not None else "message"


@pytest.mark.parametrize("kind", typing.get_args(response_input_item_param.ResponseInputItemParam))
def test_every_item_is_known_with_all_its_fields_or_refused_by_name(kind: Any) -> None:
    name = kind_of(kind)
    if name in _FIELDS:
        assert set(kind.__annotations__) - {"type"} <= _FIELDS[name]
    else:
        assert refusal(input=[{"type": name}]) == "input[0].type"


@pytest.mark.parametrize("kind", typing.get_args(tool_param.ToolParam))
def test_hosted_tools_are_refused_by_name(kind: Any) -> None:
    name = kind_of(kind)
    if name not in ("function", "custom", "namespace"):
        assert refusal(tools=[{"type": name}]) == "tools[0].type"


def refusal(**body: Any) -> str:
    with pytest.raises(APIError) as caught:
        check(ROUTES[CREATE].table, body)
    assert caught.value.status == 400
    assert caught.value.param
    return caught.value.param


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("unheard_of", 1, "unheard_of"),
        ("conversation", "c", "conversation"),
        ("prompt", {"id": "p"}, "prompt"),
        ("moderation", {}, "moderation"),
        ("context_management", [], "context_management"),
        ("truncation", "auto", "truncation"),
        ("service_tier", "priority", "service_tier"),
        ("max_output_tokens", 0, "max_output_tokens"),
        ("top_logprobs", 21, "top_logprobs"),
        ("include", ["everything"], "include[0]"),
        ("metadata", {"a": 1}, "metadata.a"),
        ("metadata", {str(n): "x" for n in range(17)}, "metadata"),
        ("text", {"format": {"type": "json_schema", "name": "x"}}, "text.format.schema"),
        ("text", {"verbosity": "low"}, "text.verbosity"),
        ("tools", [{**WEATHER, "parameters": {"pattern": "a" * 600}}], "tools[0].parameters"),
        ("tools", [{"type": "custom", "name": "x", "format": {"type": "grammar"}}], "tools[0].format.type"),
        ("tool_choice", {"type": "web_search_preview"}, "tool_choice"),
        ("reasoning", {"effort": "huge"}, "reasoning.effort"),
        ("input", [{"role": "tool", "content": "x"}], "input[0].role"),
        ("input", [{"type": "item_reference", "id": "x"}], "input[0].type"),
        ("input", [{"type": "function_call", "name": "f", "arguments": "{}"}], "input[0].call_id"),
        ("input", [{"type": "function_call_output", "call_id": "c"}], "input[0].output"),
        ("input", [{"type": "reasoning", "encrypted_content": "zz"}], "input[0].encrypted_content"),
        ("input", [{"role": "user", "content": "x", "url": "y"}], "input[0].url"),
    ],
)
def test_what_is_refused(field: str, value: Any, param: str) -> None:
    assert refusal(**{field: value}) == param


@pytest.mark.parametrize(
    ("part", "where"),
    [
        ({"type": "input_image", "image_url": "http://169.254.169.254/"}, ".image_url"),
        ({"type": "input_image", "file_id": "f"}, ".file_id"),
        ({"type": "input_file", "file_url": "http://x"}, ".type"),
        ({"type": "output_text", "text": "x"}, ".type"),
        ({"type": "input_text"}, ".text"),
        ({"type": "input_text", "text": "x", "image_url": "http://x"}, ".image_url"),
    ],
)
def test_what_a_part_may_not_hold(part: dict[str, Any], where: str) -> None:
    assert refusal(input=[{"role": "user", "content": [part]}]) == f"input[0].content[0]{where}"


def asked(given: Any, **fields: Any) -> dict[str, Any]:
    """The chat completion of a request, which that route's own rules take too."""
    body = {"model": "m", "input": given, **fields}
    check(ROUTES[CREATE].table, body)
    chat = asking.chat(body, normal(given), 4096, 2048)
    check(ROUTES[CHAT].table, chat)
    return chat


# What a coding agent was seen to send.
AGENT: dict[str, Any] = {
    "stream": True,
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"summary": "auto"},
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "k",
    "client_metadata": {"turn": "x" * 800},
    "tools": [
        {**WEATHER, "strict": False},
        {"type": "namespace", "name": "agents", "description": "d", "tools": [{**WEATHER, "name": "close"}]},
    ],
}


def test_what_a_coding_agent_sends_is_taken() -> None:
    def message(role: str, text: str) -> dict[str, Any]:
        part = {"type": "input_text", "text": text}
        return {"type": "message", "id": "msg_1", "role": role, "content": [part]}

    chat = asked(
        [message("developer", "You code."), message("user", "hi"), message("developer", "Now.")], **AGENT
    )
    assert chat["messages"] == [
        {"role": "system", "content": "You code."},
        {"role": "user", "content": "hi\n<system-reminder>\nNow.\n</system-reminder>"},
    ]
    assert [tool["function"]["name"] for tool in chat["tools"]] == ["get_weather", "agents__close"]
    assert "client_metadata" not in chat


def test_a_conversation_with_calls_and_thoughts() -> None:
    chat = asked(
        [
            {"role": "user", "content": "Weather?"},
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "Let me"},
                    {"type": "output_text", "text": "look."},
                ],
            },
            {"type": "message", "role": "assistant", "content": []},
            {"type": "function_call", "call_id": "1", "name": "get_weather", "arguments": '{"city":"Paris"}'},
            {"type": "custom_tool_call", "call_id": "2", "name": "note", "input": 'say "x"'},
            {"type": "function_call", "call_id": "3", "name": "close", "namespace": "a", "arguments": "{}"},
            {
                "type": "function_call_output",
                "call_id": "1",
                "output": [{"type": "input_text", "text": "sunny"}],
            },
            {"type": "custom_tool_call_output", "call_id": "2", "output": "ok"},
        ],
        instructions="Be kind.",
        tools=[WEATHER],
    )
    system, user, assistant, first, second = chat["messages"]
    assert (system["content"], user["content"]) == ("Be kind.", "Weather?")
    assert assistant["content"] == "Let me\nlook."
    assert assistant["reasoning"] == "hm"
    names = [call["function"]["name"] for call in assistant["tool_calls"]]
    assert names == ["get_weather", "note", "a__close"]
    assert json.loads(assistant["tool_calls"][1]["function"]["arguments"]) == {"input": 'say "x"'}
    assert first == {"role": "tool", "tool_call_id": "1", "content": "sunny"}
    assert second["content"] == "ok"


@pytest.mark.parametrize(
    ("choice", "expected", "tools"),
    [
        ("auto", "auto", 2),
        ("required", "required", 2),
        ({"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}, 2),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
            "required",
            1,
        ),
    ],
)
def test_tool_choices(choice: Any, expected: Any, tools: int) -> None:
    chat = asked("x", tools=[WEATHER, {**WEATHER, "name": "f"}], tool_choice=choice)
    assert chat["tool_choice"] == expected
    assert len(chat["tools"]) == tools


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "f"}])
def test_a_choice_among_no_tools_is_refused(choice: Any) -> None:
    with pytest.raises(APIError, match="tool_choice"):
        asked("x", tool_choice=choice)


def test_an_empty_conversation_is_refused() -> None:
    with pytest.raises(APIError, match="input"):
        asked([])


def test_log_probabilities_a_shape_and_a_bound() -> None:
    shape = {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True}
    chat = asked(
        "x",
        include=["message.output_text.logprobs"],
        top_logprobs=3,
        text={"format": shape},
        max_output_tokens=100_000,
        reasoning={"effort": "low"},
    )
    assert (chat["logprobs"], chat["top_logprobs"], chat["max_tokens"]) == (True, 3, 4096)
    assert chat["response_format"]["json_schema"]["name"] == "x"
    assert chat["reasoning_effort"] == "low"


def test_items_that_are_kept_have_a_type_an_id_and_parts() -> None:
    first, second, third = normal(
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b", "id": "msg_mine"},
            {"type": "function_call_output", "call_id": "c", "output": "d", "status": None},
        ]
    )
    assert first["content"] == [{"type": "input_text", "text": "a"}]
    assert first["id"].startswith("msg_")
    assert (second["id"], second["content"][0]["type"]) == ("msg_mine", "output_text")
    assert (third["type"], third["status"]) == ("function_call_output", "completed")
    assert third["id"].startswith("fco_")


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
CUSTOM = {"type": "custom", "name": "note"}


def translation(kept: list[Any], **fields: Any) -> ResponseTranslation:
    async def keep(response: dict[str, Any]) -> None:
        kept.append(json.loads(json.dumps(response)))

    response = begun("resp_1", {"model": "m", "tools": [WEATHER, CUSTOM], **fields}, "in_progress", 5.0)
    return ResponseTranslation(response, keep, lambda: 7.0)


def streamed(*chunks: dict[str, Any]) -> tuple[list[dict[str, Any]], list[Any]]:
    kept: list[Any] = []
    made = translation(kept)
    data = made.start() + b"".join(map(made.chunk, chunks)) + asyncio.run(made.finish())
    events = []
    for each in data.decode().split("\n\n")[:-1]:
        name, payload = each.split("\n")
        events.append(json.loads(payload.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events, kept


def test_a_stream_of_thoughts_text_and_calls() -> None:
    events, kept = streamed(
        chunk(role="assistant", content=""),
        chunk(reasoning="hm"),
        chunk(content="Look"),
        chunk(content="ing."),
        chunk(**call(0, name="get_weather")),
        chunk(**call(0, arguments='{"city":')),
        chunk(**call(0, arguments='"Paris"}')),
        chunk(**call(1, name="note")),
        chunk(**call(1, arguments='{"input": "x y"}')),
        chunk("tool_calls"),
        USAGE,
    )
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "completed",
    ]
    assert events[0]["response"]["output"] == []
    added = [event["item"] for event in events if event["type"] == "response.output_item.added"]
    assert [item["status"] for item in added] == ["in_progress"] * 4
    assert [item.get("content") for item in added] == [[], [], None, None]
    response = events[-1]["response"]
    assert response == kept[0]
    thoughts, message, function, custom = response["output"]
    assert thoughts["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert message["content"][0]["text"] == "Looking."
    assert (function["name"], json.loads(function["arguments"])) == ("get_weather", {"city": "Paris"})
    assert (custom["type"], custom["input"]) == ("custom_tool_call", "x y")
    assert {item["status"] for item in response["output"]} == {"completed"}
    assert response["usage"]["input_tokens_details"]["cached_tokens"] == 32
    assert (response["created_at"], response["completed_at"]) == (5, 7)


def test_an_answer_that_was_cut_says_so() -> None:
    events, kept = streamed(chunk(content="On"), chunk("length"), USAGE)
    assert events[-1]["type"] == "response.incomplete"
    assert kept[0]["status"] == "incomplete"
    assert kept[0]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert kept[0]["output"][0]["status"] == "incomplete"


def test_an_answer_that_fails_says_so_and_keeps_what_there_was() -> None:
    made = translation([])
    made.start()
    made.chunk(chunk(content="On"))
    told = asyncio.run(made.failed("engine_cut_off", "It went away.")).decode()
    assert told.startswith("event: response.failed\n")
    assert made.response["status"] == "failed"
    assert made.response["error"] == {"code": "server_error", "message": "It went away."}
    assert made.response["output"][0]["content"][0]["text"] == "On"


@settings(deadline=None)
@given(st.lists(st.sampled_from(["reasoning", "content", "get_weather", "note", "arguments"]), max_size=12))
def test_items_open_and_close_one_at_a_time_whatever_comes(kinds: list[str]) -> None:
    calls = 0
    chunks = []
    for kind in kinds:
        if kind in ("get_weather", "note"):
            chunks.append(chunk(**call(calls, name=kind)))
            calls += 1
        elif kind == "arguments":
            chunks.append(chunk(**call(max(0, calls - 1), arguments="{}")))
        else:
            chunks.append(chunk(**{kind: "x"}))
    events, kept = streamed(*chunks, chunk("stop"), USAGE)
    open_item: str | None = None
    done: list[dict[str, Any]] = []
    for event in events[2:-1]:
        if event["type"] == "response.output_item.added":
            assert open_item is None
            assert event["output_index"] == len(done)
            open_item = event["item"]["id"]
        elif event["type"] == "response.output_item.done":
            assert event["item"]["id"] == open_item
            done.append(event["item"])
            open_item = None
        else:
            assert event["item_id"] == open_item
    assert open_item is None
    assert done == kept[0]["output"]


def test_log_probabilities_come_with_their_text() -> None:
    found = {"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": [{"token": "a", "logprob": -1.0}]}
    logged = chunk(content="a")
    logged["choices"][0]["logprobs"] = {"content": [found]}
    events, kept = streamed(logged, chunk("stop"), USAGE)
    assert kept[0]["output"][0]["content"][0]["logprobs"][0]["token"] == "a"
    assert next(event for event in events if event["type"].endswith("text.delta"))["logprobs"][0][
        "bytes"
    ] == [97]


def test_a_whole_answer() -> None:
    kept: list[Any] = []
    payload = {**USAGE, "choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}
    answer = json.loads(asyncio.run(translation(kept).whole(payload)))
    assert answer == kept[0]
    assert answer["status"] == "completed"
    assert answer["output"][0]["content"][0]["text"] == "Hello"
    assert answer["usage"]["total_tokens"] == 49


def test_what_was_asked_for_is_told_back() -> None:
    fields = {
        "model": "m",
        "instructions": "i",
        "metadata": {"a": "b"},
        "temperature": 0.5,
        "max_output_tokens": 9,
        "previous_response_id": "resp_0",
        "user": "u",
        "tool_choice": "required",
        "tools": [WEATHER],
    }
    response = begun("resp_1", fields, "queued", 5.0)
    assert {name: response[name] for name in fields} == fields
    assert (response["store"], response["background"], response["parallel_tool_calls"]) == (True, False, True)
