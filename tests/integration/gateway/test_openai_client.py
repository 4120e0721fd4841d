"""OpenAI's own client against the gateway: what it makes of answers, streams and errors."""

import asyncio
import json

import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

from integration.gateway.conftest import Running, Start, StartUpstream
from integration.gateway.upstreams import Exchange, behave, chunk

HI: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "hi"}]


def client(gateway: Running, key: str = "sk-test", **options: int) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        api_key=key, base_url=f"http://127.0.0.1:{gateway.port}/v1", max_retries=options.get("max_retries", 0)
    )


async def test_the_whole_surface(start: Start, start_upstream: StartUpstream) -> None:
    gateway = await start(await start_upstream())
    async with client(gateway) as api:
        assert [model.id async for model in api.models.list()] == ["e", "m", "m-sql"]
        assert (await api.models.retrieve("m")).id == "m"
        answer = await api.chat.completions.create(model="m", messages=HI, max_completion_tokens=5, user="u")
        assert answer.choices[0].message.content == "Hello"
        assert answer.usage is not None
        assert answer.usage.total_tokens == 9
        text = await api.completions.create(model="m", prompt="hi")
        assert text.choices[0].text == "Hello"
        vectors = await api.embeddings.create(model="e", input="hi", encoding_format="float")
        assert vectors.data[0].embedding == [0.1, 0.2]


@pytest.mark.parametrize("asked", [True, False])
async def test_streams(start: Start, start_upstream: StartUpstream, asked: bool) -> None:
    gateway = await start(await start_upstream())
    async with client(gateway) as api:
        stream = await api.chat.completions.create(
            model="m", messages=HI, stream=True, stream_options={"include_usage": asked}
        )
        chunks = [each async for each in stream]
    assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == "Hello"
    assert [each.usage.total_tokens for each in chunks if each.usage] == ([9] if asked else [])


async def test_a_cut_stream_raises(start: Start, start_upstream: StartUpstream) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(chunk("one"))
        exchange.abort()

    gateway = await start(await start_upstream(script))
    async with client(gateway) as api:
        stream = await api.chat.completions.create(model="m", messages=HI, stream=True)
        with pytest.raises(openai.APIError, match="went away in the middle"):
            [each async for each in stream]


async def test_leaving_a_stream_cancels_the_engine(start: Start, start_upstream: StartUpstream) -> None:
    closed = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(chunk("one"))
        await exchange.closed_by_peer()
        closed.set()

    gateway = await start(await start_upstream(script))
    async with client(gateway) as api:
        stream = await api.chat.completions.create(model="m", messages=HI, stream=True)
        async for _ in stream:
            break
        await stream.close()
        await closed.wait()


async def test_errors_have_their_classes(start: Start, start_upstream: StartUpstream) -> None:
    upstream = await start_upstream()
    gateway = await start(upstream, key={"limits": {"requestsPerMinute": 1}})
    async with client(gateway, "wrong") as api:
        with pytest.raises(openai.AuthenticationError) as unknown:
            await api.models.list()
    assert unknown.value.code == "invalid_api_key"
    async with client(gateway) as api:
        with pytest.raises(openai.NotFoundError) as missing:
            await api.chat.completions.create(model="none", messages=HI)
        assert missing.value.param == "model"
        with pytest.raises(openai.BadRequestError) as wrong:
            await api.chat.completions.create(model="m", messages=HI, n=99)
        assert wrong.value.param == "n"
        await api.chat.completions.create(model="m", messages=HI)
        with pytest.raises(openai.RateLimitError) as limited:
            await api.chat.completions.create(model="m", messages=HI)
        assert limited.value.code == "rate_limit_exceeded"
        assert limited.value.request_id


async def test_the_clients_own_retry_gets_through(start: Start, start_upstream: StartUpstream) -> None:
    async def fails_once(exchange: Exchange) -> None:
        if len(upstream.requests) == 1:
            await exchange.answer(json.dumps({"error": "draining"}).encode(), 503)
        else:
            await behave(exchange)

    upstream = await start_upstream(fails_once)
    gateway = await start(upstream)
    async with client(gateway, max_retries=2) as api:
        answer = await api.chat.completions.create(model="m", messages=HI)
    assert answer.choices[0].message.content == "Hello"
