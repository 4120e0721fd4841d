"""Anthropic's Python client against gateway and engine: what a coding agent needs."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic.types import MessageParam, ToolParam, ToolResultBlockParam
from pydantic import BaseModel

from integration.stack.running import CHAT, TUNED, Stack
from integration.waiting import until

CAPITAL: list[MessageParam] = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
COLD: Any = {"temperature": 0}
"""The client no longer has it among its own parameters."""


class Size(BaseModel):
    big: bool


@pytest.fixture
def api(stack: Stack) -> Iterator[anthropic.Anthropic]:
    """The official client; it does not retry, so that each answer is seen."""
    with anthropic.Anthropic(base_url=stack.url, api_key=stack.key, max_retries=0) as client:
        yield client


def test_knows_the_capital_of_france(api: anthropic.Anthropic) -> None:
    answer = api.messages.create(model=CHAT, max_tokens=40, messages=CAPITAL, extra_body=COLD)
    assert answer.content[0].type == "text"
    assert "Paris" in answer.content[0].text
    assert (answer.stop_reason, answer.model) == ("end_turn", CHAT)
    counted = api.messages.count_tokens(model=CHAT, messages=CAPITAL)
    cached = answer.usage.cache_read_input_tokens or 0
    assert counted.input_tokens == answer.usage.input_tokens + cached > 0


def test_streams_the_same_answer(api: anthropic.Anthropic) -> None:
    whole = api.messages.create(model=CHAT, max_tokens=40, messages=CAPITAL, extra_body=COLD)
    with api.messages.stream(model=CHAT, max_tokens=40, messages=CAPITAL, extra_body=COLD) as stream:
        texts = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(texts) > 3
    assert whole.content[0].type == "text"
    assert "".join(texts) == whole.content[0].text
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.stop_reason == "end_turn"


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
@pytest.mark.parametrize("streamed", [False, True])
def test_calls_a_tool(api: anthropic.Anthropic, choice: Any, *, streamed: bool) -> None:
    asked: dict[str, Any] = {
        "model": CHAT,
        "max_tokens": 80,
        "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
        "tools": [WEATHER],
        "tool_choice": choice,
        "extra_body": COLD,
    }
    if streamed:
        with api.messages.stream(**asked) as stream:
            answer: Any = stream.get_final_message()
    else:
        answer = api.messages.create(**asked)
    (block,) = answer.content
    assert (block.type, block.name, block.input) == ("tool_use", "get_weather", {"city": "Paris"})
    assert answer.stop_reason == "tool_use"


def test_an_agents_loop(api: anthropic.Anthropic) -> None:
    """As coding agents do it: a large system prompt, several tools, results until there is an answer."""
    rules = "\n".join(f"Rule {number}: be careful with files and answer briefly." for number in range(40))
    system: Any = [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2;"},
        {"type": "text", "text": "You are a coding agent.\n" + rules, "cache_control": {"type": "ephemeral"}},
    ]
    schema: Any = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"path": {"type": "string", "enum": ["notes.txt"]}},
        "required": ["path"],
        "additionalProperties": False,
    }
    tools: list[ToolParam] = [
        {"name": name, "description": f"{name} a file", "input_schema": schema}
        for name in ("Read", "Write", "Edit")
    ]
    files = {"notes.txt": "The secret word is banana."}
    messages: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "Read notes.txt."}]}]
    cached = 0
    calls = []
    for turn in range(3):
        choice: Any = {"type": "tool", "name": "Read"} if turn < 2 else {"type": "none"}
        with api.beta.messages.stream(
            model=CHAT,
            max_tokens=32_000,
            system=system,
            messages=messages,
            tools=tools,
            tool_choice=choice,
            thinking={"type": "adaptive"},
            metadata={"user_id": "agent"},
            betas=["interleaved-thinking-2025-05-14", "context-management-2025-06-27"],
            context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            extra_body={**COLD, "output_config": {"effort": "high"}},
        ) as stream:
            answer = stream.get_final_message()
        cached = answer.usage.cache_read_input_tokens or 0
        messages.append({"role": "assistant", "content": answer.content})
        results: list[ToolResultBlockParam] = []
        for block in answer.content:
            if block.type == "tool_use":
                given: Any = block.input
                calls.append((block.name, given))
                results.append(
                    {"type": "tool_result", "tool_use_id": block.id, "content": files[given["path"]]}
                )
        if not results:
            break
        messages.append({"role": "user", "content": results})
    assert calls == [("Read", {"path": "notes.txt"})] * 2
    assert answer.stop_reason in ("end_turn", "max_tokens")
    assert answer.content[0].type == "text"
    assert cached > 0, "the prompt of the turn before comes from the prefix cache"


def test_answers_as_a_schema_says(api: anthropic.Anthropic) -> None:
    answer = api.messages.parse(
        model=CHAT,
        max_tokens=40,
        messages=[{"role": "user", "content": "Is Paris big? Answer as JSON."}],
        output_format=Size,
        extra_body=COLD,
    )
    assert isinstance(answer.parsed_output, Size)


def test_stops_where_it_is_told_and_where_there_is_no_room(api: anthropic.Anthropic) -> None:
    count: list[MessageParam] = [{"role": "user", "content": "Count from 1 to 9."}]
    stopped = api.messages.create(
        model=CHAT, max_tokens=60, messages=count, stop_sequences=["3"], extra_body=COLD
    )
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "3")
    cut = api.messages.create(model=CHAT, max_tokens=3, messages=count, extra_body=COLD)
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 3)


def test_an_adapter_is_a_model(api: anthropic.Anthropic) -> None:
    assert api.messages.create(model=TUNED, max_tokens=8, messages=CAPITAL).model == TUNED
    assert {model.id for model in api.models.list()} >= {CHAT, TUNED}


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"model": "no-such-model"}, anthropic.NotFoundError, "not_found_error"),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            anthropic.BadRequestError,
            "tools",
        ),
        ({"messages": [{"role": "user", "content": "word " * 3000}]}, anthropic.BadRequestError, "2048"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "image",
                                "source": {
                                    "type": "base64",
                                    "media_type": "image/png",
                                    "data": "iVBORw0KGgo=",
                                },
                            }
                        ],
                    }
                ]
            },
            anthropic.BadRequestError,
            "multimodal",
        ),
    ],
)
def test_errors_are_of_the_clients_own_kinds(
    api: anthropic.Anthropic, fields: dict[str, Any], kind: Any, words: str
) -> None:
    with pytest.raises(kind) as refused:
        api.messages.create(**{"model": CHAT, "max_tokens": 8, "messages": CAPITAL, **fields})
    assert words in json.dumps(refused.value.body)
    assert refused.value.request_id


def test_keys(stack: Stack) -> None:
    with (
        anthropic.Anthropic(base_url=stack.url, api_key="sk-slipway-wrong", max_retries=0) as wrong,
        pytest.raises(anthropic.AuthenticationError),
    ):
        wrong.messages.create(model=CHAT, max_tokens=8, messages=CAPITAL)
    with anthropic.Anthropic(base_url=stack.url, auth_token=stack.key, max_retries=0) as bearer:
        assert bearer.messages.create(model=CHAT, max_tokens=4, messages=CAPITAL).role == "assistant"


def test_a_client_that_leaves_frees_the_engine(stack: Stack, api: anthropic.Anthropic) -> None:
    story: list[MessageParam] = [{"role": "user", "content": "Tell me a very long story."}]
    with api.messages.stream(model=CHAT, max_tokens=1500, messages=story) as stream:
        next(iter(stream.text_stream))
    until(lambda: stack.running_requests(CHAT) == 0, "the engine has dropped it", 10)
