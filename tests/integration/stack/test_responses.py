"""OpenAI's Python client on /v1/responses, against gateway and engine."""

import json
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.responses import FunctionToolParam, Response, ResponseFunctionToolCall
from pydantic import BaseModel

from integration.stack.running import CHAT, EMBED, TUNED, Stack
from integration.waiting import until

CAPITAL = "What is the capital of France?"
WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


class Size(BaseModel):
    big: bool


def test_knows_the_capital_of_france(stack: Stack) -> None:
    api = stack.client()
    answer = api.responses.create(model=CHAT, input=CAPITAL, temperature=0)
    assert "Paris" in answer.output_text
    assert (answer.status, answer.model) == ("completed", CHAT)
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    counted = api.responses.input_tokens.count(model=CHAT, input=CAPITAL)
    assert counted.input_tokens == answer.usage.input_tokens


def test_streams_the_same_answer_with_numbered_events(stack: Stack) -> None:
    api = stack.client()
    with api.responses.stream(model=CHAT, input=CAPITAL, temperature=0) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert len([event for event in events if event.type == "response.output_text.delta"]) > 3
    assert "Paris" in final.output_text
    assert api.responses.retrieve(final.id).output_text == final.output_text


def test_a_conversation_goes_on(stack: Stack) -> None:
    api = stack.client()
    first = api.responses.create(model=CHAT, input=CAPITAL, temperature=0)
    second = go_on(api, first)
    roles = [item.role for item in api.responses.input_items.list(second.id, order="asc")]  # type: ignore[union-attr]
    assert roles == ["user", "assistant", "user"]


def go_on(api: openai.OpenAI, first: Response) -> Response:
    """Ask on; the engine has read all that was said before, token by token."""
    second = api.responses.create(
        model=CHAT, input="And of Italy?", previous_response_id=first.id, temperature=0, max_output_tokens=40
    )
    said = api.responses.input_tokens.count(
        model=CHAT,
        input=[
            {"role": "user", "content": CAPITAL},
            {"role": "assistant", "content": first.output_text},
            {"role": "user", "content": "And of Italy?"},
        ],
    )
    assert second.usage is not None
    assert second.usage.input_tokens == said.input_tokens
    return second


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "get_weather"}])
def test_calls_a_tool_and_takes_its_result(stack: Stack, choice: Any) -> None:
    api = stack.client()
    asked = api.responses.create(
        model=CHAT, input="What is the weather in Paris?", tools=[WEATHER], tool_choice=choice, temperature=0
    )
    (call,) = asked.output
    assert isinstance(call, ResponseFunctionToolCall)
    assert json.loads(call.arguments) == {"city": "Paris"}
    told = api.responses.create(
        model=CHAT,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "sunny, 21 degrees"}],
        previous_response_id=asked.id,
        tools=[WEATHER],
        temperature=0,
        max_output_tokens=60,
    )
    assert "sunny" in told.output_text


def test_streams_a_tool_call(stack: Stack) -> None:
    with stack.client().responses.stream(
        model=CHAT,
        input="What is the weather in Paris?",
        tools=[WEATHER],
        tool_choice="required",
        temperature=0,
    ) as stream:
        (call,) = stream.get_final_response().output
    assert call.type == "function_call"
    assert call.parsed_arguments == {"city": "Paris"}


def test_answers_as_a_schema_says(stack: Stack) -> None:
    answer = stack.client().responses.parse(
        model=CHAT,
        input="Is Paris big? Answer as JSON.",
        text_format=Size,
        temperature=0,
        max_output_tokens=40,
    )
    assert isinstance(answer.output_parsed, Size)


def test_log_probabilities(stack: Stack) -> None:
    answer = stack.client().responses.create(
        model=CHAT,
        input=CAPITAL,
        include=["message.output_text.logprobs"],
        top_logprobs=2,
        max_output_tokens=4,
        temperature=0,
    )
    (message,) = answer.output
    assert message.type == "message"
    part = message.content[0]
    assert part.type == "output_text"
    assert part.logprobs is not None
    assert [len(token.top_logprobs) for token in part.logprobs] == [2] * 4
    assert (answer.status, message.status) == ("incomplete", "incomplete")
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"


def test_an_adapter_answers_otherwise(stack: Stack) -> None:
    def ask(model: str) -> Response:
        return stack.client().responses.create(
            model=model, input=CAPITAL, temperature=0, max_output_tokens=12
        )

    assert ask(TUNED).output_text != ask(CHAT).output_text


def test_in_the_background_and_cancelled(stack: Stack) -> None:
    api = stack.client()
    queued = api.responses.create(model=CHAT, input=CAPITAL, background=True, temperature=0)
    assert queued.status == "queued"
    until(lambda: api.responses.retrieve(queued.id).status == "completed", "the response is made")
    assert "Paris" in api.responses.retrieve(queued.id).output_text

    endless = api.responses.create(
        model=CHAT,
        input="Count for ever.",
        background=True,
        max_output_tokens=2000,
        extra_body={"ignore_eos": True},
    )
    until(lambda: stack.running_requests(CHAT) >= 1, "the engine works on it")
    assert api.responses.cancel(endless.id).status == "cancelled"
    until(lambda: stack.running_requests(CHAT) == 0, "the engine has dropped it", 10)
    assert api.responses.retrieve(endless.id).status == "cancelled"


def test_errors(stack: Stack) -> None:
    api = stack.client()
    with pytest.raises(openai.NotFoundError) as missing:
        api.responses.retrieve("resp_none")
    assert missing.value.code == "response_not_found"
    with pytest.raises(openai.BadRequestError, match="2048"):
        api.responses.create(model=CHAT, input="word " * 3000)
    with pytest.raises(openai.BadRequestError, match="multimodal"):
        api.responses.create(
            model=CHAT,
            input=[
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "input_image",
                            "detail": "auto",
                            "image_url": "data:image/png;base64,iVBORw0KGgo=",
                        }
                    ],
                }
            ],
        )
    with pytest.raises(openai.BadRequestError) as embeds:
        api.responses.create(model=EMBED, input=CAPITAL)
    assert embeds.value.code == "wrong_task"
    with pytest.raises(openai.BadRequestError) as hosted:
        api.responses.create(model=CHAT, input=CAPITAL, tools=[{"type": "web_search"}])
    assert hosted.value.param == "tools[0].type"


def test_survives_the_engines_restart(stack: Stack, tmp_path: Path) -> None:
    """The engine holds nothing of it: another one, started anew, goes on."""
    api = stack.client(max_retries=5)
    first = api.responses.create(model=CHAT, input=CAPITAL, temperature=0)
    before = stack.engine(CHAT)[0]
    changed = tmp_path / "changed.yaml"
    changed.write_text(stack.file.read_text().replace("maxModelLen: 2048", "maxModelLen: 2040"))
    try:
        replaced = stack.slipway("up", "-d", "-f", str(changed))
        assert replaced.returncode == 0, replaced.stdout + replaced.stderr
        assert stack.engine(CHAT)[0] != before
        go_on(api, first)
    finally:
        restored = stack.slipway("up", "-d", "-f", str(stack.file))
        assert restored.returncode == 0, restored.stdout + restored.stderr
