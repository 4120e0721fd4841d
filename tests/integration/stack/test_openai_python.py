"""The official Python client against gateway and engine."""

import json
import math
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from integration.stack.running import CHAT, EMBED, TUNED, Stack
from integration.waiting import until

CAPITAL: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def test_knows_the_capital_of_france(stack: Stack) -> None:
    answer = stack.client().chat.completions.create(model=CHAT, messages=CAPITAL, temperature=0)
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == CHAT
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_streams_the_same_answer_in_pieces_and_no_usage_unasked(stack: Stack) -> None:
    stream = stack.client().chat.completions.create(model=CHAT, messages=CAPITAL, temperature=0, stream=True)
    chunks = list(stream)
    assert len(chunks) > 3
    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    assert "Paris" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def test_streams_usage_when_asked(stack: Stack) -> None:
    stream = stack.client().chat.completions.create(
        model=CHAT, messages=CAPITAL, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    *_, last = stream
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens > 0


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_calls_a_tool_with_arguments_that_fit_its_schema(stack: Stack, choice: Any) -> None:
    answer = stack.client().chat.completions.create(
        model=CHAT,
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[WEATHER],
        tool_choice=choice,
        temperature=0,
        max_tokens=80,
    )
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.name == "get_weather"
    assert json.loads(calls[0].function.arguments) == {"city": "Paris"}


def test_streams_a_tool_call(stack: Stack) -> None:
    with stack.client().chat.completions.stream(
        model=CHAT,
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[WEATHER],
        tool_choice="required",
        temperature=0,
        max_tokens=80,
    ) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Paris"}


def test_answers_as_a_json_schema_says(stack: Stack) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "big": {"type": "boolean"}},
        "required": ["name", "big"],
        "additionalProperties": False,
    }
    answer = stack.client().chat.completions.create(
        model=CHAT,
        messages=[{"role": "user", "content": "Describe the city of Paris as JSON."}],
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "city", "schema": schema, "strict": True},
        },
        temperature=0,
        max_tokens=60,
    )
    city = json.loads(answer.choices[0].message.content or "")
    assert set(city) == {"name", "big"}
    assert isinstance(city["big"], bool)


@pytest.mark.parametrize("stream", [False, True])
def test_a_json_schema_that_no_text_fits_is_the_clients_mistake(stack: Stack, stream: bool) -> None:
    """vLLM tells it by words of its own, which `relay.constraints` knows."""

    def ask() -> None:
        answer: Any = stack.client().chat.completions.create(
            model=CHAT,
            messages=CAPITAL,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "endless", "schema": {"$ref": "#"}},
            },
            stream=stream,
            max_tokens=20,
        )
        if stream:
            list(answer)

    with pytest.raises(openai.APIError) as refused:
        ask()
    assert (refused.value.code, refused.value.param) == ("unsatisfiable_constraint", "response_format")
    if not stream:
        assert isinstance(refused.value, openai.BadRequestError)


def test_log_probabilities(stack: Stack) -> None:
    answer = stack.client().chat.completions.create(
        model=CHAT, messages=CAPITAL, temperature=0, max_tokens=4, logprobs=True, top_logprobs=3
    )
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.content is not None
    assert len(found.content) == 4
    assert all(len(token.top_logprobs) == 3 and token.logprob <= 0 for token in found.content)


def test_a_seed_gives_the_same_answer_again(stack: Stack) -> None:
    def ask(seed: int) -> str | None:
        answer = stack.client().chat.completions.create(
            model=CHAT, messages=CAPITAL, seed=seed, temperature=1.5, max_tokens=12
        )
        return answer.choices[0].message.content

    ask(1)  # From here on the prompt comes from the prefix cache, so that the arithmetic is the same.
    assert ask(1) == ask(1)
    assert ask(1) != ask(2)


def test_stop_and_n(stack: Stack) -> None:
    answer = stack.client().chat.completions.create(
        model=CHAT, messages=CAPITAL, temperature=1.5, n=2, max_tokens=12
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    stopped = stack.client().chat.completions.create(
        model=CHAT, messages=CAPITAL, temperature=0, stop=["Paris"]
    )
    assert "Paris" not in (stopped.choices[0].message.content or "")
    assert stopped.choices[0].finish_reason == "stop"


def test_completions_and_the_adapter_beside_its_base(stack: Stack) -> None:
    def complete(model: str) -> str:
        answer = stack.client().completions.create(
            model=model, prompt="Once upon a time", max_tokens=10, temperature=0
        )
        assert answer.model == model
        return answer.choices[0].text

    assert complete(CHAT)
    assert complete(CHAT) != complete(TUNED)


def test_embeddings_put_like_beside_like(stack: Stack) -> None:
    answer = stack.client().embeddings.create(model=EMBED, input=["a cat", "a kitten", "tax law"])
    cat, kitten, law = (item.embedding for item in answer.data)

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    assert len(cat) == 384
    assert cosine(cat, kitten) > 0.7 > cosine(cat, law)
    assert answer.usage.prompt_tokens > 0


def test_models_are_those_the_key_may_call(stack: Stack) -> None:
    # Other tests bring adapters to the same engines.
    assert {model.id for model in stack.client().models.list()} >= {CHAT, TUNED, EMBED}
    assert {model.id for model in stack.client(stack.key_of("embeds-only")).models.list()} == {EMBED}
    assert stack.client().models.retrieve(CHAT).id == CHAT
    with pytest.raises(openai.NotFoundError):
        stack.client().models.retrieve("no-such-model")


def test_tokenize(stack: Stack) -> None:
    body = {"model": CHAT, "prompt": "Hello world"}
    answer: Any = stack.client().post(f"{stack.url}/tokenize", body=body, cast_to=object)
    assert answer["count"] == len(answer["tokens"]) > 0


@pytest.mark.parametrize("name", ["disabled", "expired"])
def test_keys_that_no_longer_count_are_refused(stack: Stack, name: str) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        stack.client(stack.key_of(name)).models.list()
    assert refused.value.request_id


def test_a_wrong_key_is_refused(stack: Stack) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        stack.client("sk-slipway-wrong").chat.completions.create(model=CHAT, messages=CAPITAL)
    assert refused.value.code == "invalid_api_key"


def test_a_model_out_of_the_keys_scope_does_not_exist_for_it(stack: Stack) -> None:
    scoped = stack.client(stack.key_of("embeds-only"))
    with pytest.raises(openai.NotFoundError) as hidden:
        scoped.chat.completions.create(model=CHAT, messages=CAPITAL)
    with pytest.raises(openai.NotFoundError) as missing:
        scoped.chat.completions.create(model="no-such-model", messages=CAPITAL)
    assert hidden.value.code == missing.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"temperature": 99}, "temperature"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"extra_body": {"no_such_parameter": 1}}, "no_such_parameter"),
        ({"messages": "hello"}, "messages"),
        ({"extra_body": {"chat_template": "{{ 1 }}"}}, "chat_template"),
    ],
)
def test_a_bad_request_names_its_parameter(stack: Stack, given: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        stack.client().chat.completions.create(**{"model": CHAT, "messages": CAPITAL, **given})
    assert refused.value.param == param
    assert "Traceback" not in refused.value.message
    assert "/" not in refused.value.message.replace("https://", "")


def test_a_prompt_past_the_models_length_is_refused(stack: Stack) -> None:
    with pytest.raises(openai.BadRequestError, match="2048"):
        stack.client().completions.create(model=CHAT, prompt="word " * 3000)


def test_requests_a_minute(stack: Stack) -> None:
    client = stack.client(stack.key_of("two-a-minute"))
    raw = client.chat.completions.with_raw_response
    first = raw.create(model=CHAT, messages=CAPITAL, max_tokens=2)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    raw.create(model=CHAT, messages=CAPITAL, max_tokens=2)
    with pytest.raises(openai.RateLimitError) as refused:
        raw.create(model=CHAT, messages=CAPITAL, max_tokens=2)
    assert (
        1 <= int(refused.value.response.headers["retry-after"]) <= 61
    )  # A minute, and its slot of a second.
    assert refused.value.code == "rate_limit_exceeded"


def test_tokens_a_minute_are_settled_to_what_was_used(stack: Stack) -> None:
    raw = stack.client(stack.key_of("few-tokens")).chat.completions.with_raw_response
    answer = raw.create(model=CHAT, messages=CAPITAL, max_tokens=5)
    used = answer.parse().usage
    assert used is not None

    def left() -> bool:
        with pytest.raises(openai.RateLimitError) as refused:
            raw.create(model=CHAT, messages=CAPITAL, max_tokens=85)
        return refused.value.response.headers["x-ratelimit-remaining-tokens"] == str(100 - used.total_tokens)

    until(left, "the settled count shows")


def test_parallel_requests(stack: Stack) -> None:
    client = stack.client(stack.key_of("one-at-a-time"))
    running = client.chat.completions.create(
        model=CHAT, messages=CAPITAL, stream=True, max_tokens=1000, extra_body={"ignore_eos": True}
    )
    next(running)
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model=CHAT, messages=CAPITAL, max_tokens=2)
    running.close()

    def free_again() -> bool:
        try:
            client.chat.completions.create(model=CHAT, messages=CAPITAL, max_tokens=2)
        except openai.RateLimitError:
            return False
        return True

    until(free_again, "the place is free again")


def test_a_client_that_leaves_frees_the_engine(stack: Stack) -> None:
    stream = stack.client().chat.completions.create(
        model=CHAT, messages=CAPITAL, stream=True, max_tokens=1500, extra_body={"ignore_eos": True}
    )
    next(stream)
    until(lambda: stack.running_requests(CHAT) >= 1, "the engine works on it")
    stream.close()
    until(lambda: stack.running_requests(CHAT) == 0, "the engine has dropped it", 10)


def test_a_client_that_gives_up_waiting_frees_the_engine(stack: Stack) -> None:
    with pytest.raises(openai.APITimeoutError):
        stack.client(timeout=0.5).chat.completions.create(
            model=CHAT, messages=CAPITAL, max_tokens=1500, extra_body={"ignore_eos": True}
        )
    until(lambda: stack.running_requests(CHAT) == 0, "the engine has dropped it", 10)
