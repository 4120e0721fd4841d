"""Anthropic's own client against the gateway: messages, streams, its kinds of errors."""

import asyncio
from typing import Any

import anthropic
import pytest

from integration.gateway.conftest import Running, Start, StartUpstream
from integration.gateway.upstreams import CHAT, Exchange, behave, chunk

HI: list[Any] = [{"role": "user", "content": "hi"}]


def client(gateway: Running, key: str = "sk-test", **options: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        api_key=key, base_url=f"http://127.0.0.1:{gateway.port}", **{"max_retries": 0, **options}
    )


async def test_the_whole_surface(start: Start, start_upstream: StartUpstream) -> None:
    upstream = await start_upstream()
    gateway = await start(upstream)
    async with client(gateway) as api:
        answer = await api.messages.create(model="m", max_tokens=9, messages=HI, system="Be kind.")
        assert [block.type for block in answer.content] == ["text"]
        assert answer.content[0].text == "Hello"  # type: ignore[union-attr]
        assert (answer.model, answer.role, answer.stop_reason) == ("m", "assistant", "end_turn")
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, 2)
        assert answer._request_id is not None
        sent = upstream.requests[-1]
        assert sent.target == "/v1/chat/completions"
        assert sent.json == {
            "model": "m",
            "max_tokens": 9,
            "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}],
        }
        async with api.messages.stream(model="m", max_tokens=9, messages=HI) as stream:
            assert [text async for text in stream.text_stream] == ["Hel", "lo"]
            final = await stream.get_final_message()
        assert (final.usage.input_tokens, final.usage.output_tokens) == (7, 2)
        counted = await api.messages.count_tokens(model="m", messages=HI)
        assert counted.input_tokens == 1
        assert upstream.requests[-1].target == "/tokenize"
        models = [model async for model in api.models.list()]
        assert [(model.id, model.display_name, model.type) for model in models][:2] == [
            ("e", "e", "model"),
            ("m", "m", "model"),
        ]
        assert models[0].created_at.year > 2000
    lines = [line for line in gateway.log if line.get("route") == "/v1/messages"]
    assert [(line["prompt_tokens"], line["completion_tokens"]) for line in lines] == [(7, 2), (7, 2)]


async def test_what_agents_put_around_a_request_does_no_harm(
    start: Start, start_upstream: StartUpstream
) -> None:
    gateway = await start(await start_upstream())
    headers = {
        "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14",
        "anthropic-version": "2023-06-01",
        "anthropic-dangerous-direct-browser-access": "true",
        "x-app": "cli",
    }
    async with client(gateway, default_headers=headers) as api:
        answer = await api.beta.messages.create(
            model="m", max_tokens=9, messages=HI, betas=["context-management-2025-06-27"]
        )
        assert answer.content[0].type == "text"
    token = anthropic.AsyncAnthropic(
        auth_token="sk-test", base_url=f"http://127.0.0.1:{gateway.port}", max_retries=0
    )
    async with token as api:  # As `Authorization: Bearer`.
        assert (await api.messages.create(model="m", max_tokens=9, messages=HI)).role == "assistant"


@pytest.mark.parametrize(
    ("key", "fields", "kind", "words"),
    [
        ("sk-wrong", {}, anthropic.AuthenticationError, "authentication_error"),
        ("sk-test", {"model": "no"}, anthropic.NotFoundError, "not_found_error"),
        ("sk-test", {"model": "e"}, anthropic.BadRequestError, "invalid_request_error"),
        ("sk-test", {"max_tokens": 0}, anthropic.BadRequestError, "max_tokens"),
        ("sk-test", {"extra_body": {"unheard_of": 1}}, anthropic.BadRequestError, "unheard_of"),
        ("sk-test", {"system": "x" * 70_000}, anthropic.RequestTooLargeError, "request_too_large"),
        ("sk-few", {}, anthropic.RateLimitError, "rate_limit_error"),
    ],
)
async def test_errors_become_the_clients_own_kinds(
    start: Start, start_upstream: StartUpstream, key: str, fields: dict[str, Any], kind: Any, words: str
) -> None:
    gateway = await start(await start_upstream(), max_body=65_536)
    gateway.state.key("few", "sk-few", limits={"requestsPerMinute": 1})
    await gateway.until(lambda: len(gateway.gateway.catalog.snapshot.keyring.keys) == 2)
    async with client(gateway, key) as api:
        if key == "sk-few":
            await api.messages.create(model="m", max_tokens=9, messages=HI)
        with pytest.raises(kind) as refused:
            await api.messages.create(**{"model": "m", "max_tokens": 9, "messages": HI, **fields})
    assert words in str(refused.value)
    assert refused.value.request_id
    assert set(refused.value.body) == {"type", "error"}


@pytest.mark.parametrize(
    ("status", "kind"), [(500, anthropic.InternalServerError), (503, anthropic.InternalServerError)]
)
async def test_engines_faults(start: Start, start_upstream: StartUpstream, status: int, kind: Any) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer({"error": {"message": "/usr/lib/secret.py broke"}}, status)

    gateway = await start(await start_upstream(script))
    async with client(gateway) as api:
        with pytest.raises(kind) as refused:
            await api.messages.create(model="m", max_tokens=9, messages=HI)
    assert "secret" not in str(refused.value)


async def test_a_stream_that_is_cut_raises(start: Start, start_upstream: StartUpstream) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(chunk("On"))
        exchange.abort()

    gateway = await start(await start_upstream(script))
    async with (
        client(gateway) as api,
        api.messages.stream(model="m", max_tokens=9, messages=HI) as stream,
    ):
        texts = aiter(stream.text_stream)
        assert await anext(texts) == "On"
        with pytest.raises(anthropic.APIStatusError, match="api_error"):
            await anext(texts)


async def test_a_client_that_leaves_frees_the_engine(start: Start, start_upstream: StartUpstream) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(chunk("On"))
        await exchange.closed_by_peer()
        raise ConnectionError

    upstream = await start_upstream(script)
    gateway = await start(upstream)
    async with client(gateway) as api, api.messages.stream(model="m", max_tokens=9, messages=HI) as stream:
        await anext(aiter(stream.text_stream))
    await gateway.until(lambda: gateway.outstanding(upstream) == 0)


async def test_an_agents_loop(start: Start, start_upstream: StartUpstream) -> None:
    """Calls are answered by results until the model has said its last word."""
    wanted = [{"city": "Paris"}, {"city": "Rome"}]

    async def script(exchange: Exchange) -> None:
        results = [each for each in exchange.request.json["messages"] if each["role"] == "tool"]
        if len(results) == len(wanted):
            await behave(exchange)
            return
        city = wanted[len(results)]["city"]
        await exchange.begin_stream()
        await exchange.event(chunk("Let me look."))
        for delta in ({"name": "get_weather"}, {"arguments": '{"city": '}, {"arguments": f'"{city}"}}'}):
            payload = chunk("")
            payload["choices"][0]["delta"] = {"tool_calls": [{"index": 0, "id": "x", "function": delta}]}
            await exchange.event(payload)
        ended = chunk("")
        ended["choices"][0] |= {"delta": {}, "finish_reason": "tool_calls"}
        await exchange.event(ended)
        await exchange.event({**chunk(""), "choices": [], "usage": CHAT["usage"]})
        await exchange.end_stream()

    upstream = await start_upstream(script)
    gateway = await start(upstream)
    tool: Any = {"name": "get_weather", "input_schema": {"type": "object"}}
    messages = list(HI)
    asked: list[object] = []
    async with client(gateway) as api:
        while True:
            async with api.messages.stream(
                model="m", max_tokens=99, messages=messages, tools=[tool], system="Use tools."
            ) as stream:
                answer = await stream.get_final_message()
            messages.append({"role": "assistant", "content": answer.content})
            if answer.stop_reason != "tool_use":
                break
            results = [
                {"type": "tool_result", "tool_use_id": block.id, "content": "sunny"}
                for block in answer.content
                if block.type == "tool_use"
            ]
            asked += [block.input for block in answer.content if block.type == "tool_use"]
            messages.append({"role": "user", "content": results})
    assert asked == wanted
    assert answer.stop_reason == "end_turn"
    roles = [each["role"] for each in upstream.requests[-1].json["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "tool"]


async def test_many_at_once_keep_their_answers_apart(start: Start, start_upstream: StartUpstream) -> None:
    async def script(exchange: Exchange) -> None:
        word = exchange.request.json["messages"][0]["content"]
        await exchange.begin_stream()
        for letter in word:
            await exchange.event(chunk(letter))
            await asyncio.sleep(0)
        await exchange.event({**chunk(""), "choices": [], "usage": CHAT["usage"]})
        await exchange.end_stream()

    gateway = await start(await start_upstream(script))
    async with client(gateway) as api:

        async def ask(word: str) -> str:
            said: list[Any] = [{"role": "user", "content": word}]
            async with api.messages.stream(model="m", max_tokens=9, messages=said) as stream:
                return await stream.get_final_text()

        words = [f"word{number}" for number in range(20)]
        assert await asyncio.gather(*map(ask, words)) == words
