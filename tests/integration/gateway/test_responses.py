"""Responses: kept, gone on from, shown, deleted, cancelled, by their owner alone and from any gateway."""

import asyncio
import contextlib
import json
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent

from integration.gateway.conftest import Running, Start, StartUpstream
from integration.gateway.processes import Process
from integration.gateway.states import State
from integration.gateway.upstreams import Exchange, Upstream, behave, chunk
from slipway.gateway.responses.store import BATCH


@contextlib.asynccontextmanager
async def client(port: int, key: str = "sk-test", *, retries: int = 0) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"http://127.0.0.1:{port}/v1"
    async with openai.AsyncOpenAI(api_key=key, base_url=url, max_retries=retries) as api:
        yield api


@contextlib.asynccontextmanager
async def process(state: State, *arguments: str) -> AsyncIterator[tuple[Process, openai.AsyncOpenAI]]:
    """A gateway process and a client that waits until its database is open."""
    running = Process(state.folder, *arguments)
    try:
        async with client(await asyncio.to_thread(running.port), retries=5) as api:
            yield running, api
    finally:
        if running.running:
            running.kill()


def state_over(upstream: Upstream, folder: Path) -> State:
    state = State(folder)
    state.service("m")
    state.key()
    state.endpoints(m=[upstream.address])
    return state


async def ready(start: Start, *upstreams: Upstream, **options: Any) -> Running:
    gateway = await start(*upstreams, **options)
    await gateway.until(lambda: gateway.gateway.database.migrated)
    return gateway


def said(upstream: Upstream) -> list[tuple[str, str]]:
    """Who said what in the conversation of the last request."""
    return [(message["role"], message["content"]) for message in upstream.requests[-1].json["messages"]]


async def hang(exchange: Exchange) -> None:
    """Say one word, then nothing until the gateway gives up."""
    await exchange.begin_stream()
    await exchange.event(chunk("On"))
    await exchange.closed_by_peer()
    raise ConnectionError


async def until_status(api: openai.AsyncOpenAI, response: str, *statuses: str) -> Response:
    while (found := await api.responses.retrieve(response)).status not in statuses:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return found


async def test_a_conversation_goes_on_by_the_id_of_the_last_response(
    start: Start, start_upstream: StartUpstream
) -> None:
    upstream = await start_upstream()
    gateway = await ready(start, upstream)
    async with client(gateway.port) as api:
        first = await api.responses.create(model="m", input="a", instructions="Be kind.")
        second = await api.responses.create(model="m", input="b", previous_response_id=first.id)
        third = await api.responses.create(
            model="m", input="c", instructions="Be brief.", previous_response_id=second.id
        )
        assert (third.output_text, third.status, third.previous_response_id) == (
            "Hello",
            "completed",
            second.id,
        )
        assert said(upstream) == [
            ("system", "Be brief."),  # Instructions are not carried over.
            ("user", "a"),
            ("assistant", "Hello"),
            ("user", "b"),
            ("assistant", "Hello"),
            ("user", "c"),
        ]
        assert await api.responses.retrieve(third.id) == third
        items = [item async for item in api.responses.input_items.list(third.id, order="asc")]
        assert [item.role for item in items] == ["user", "assistant", "user", "assistant", "user"]  # type: ignore[union-attr]
        newest = await api.responses.input_items.list(third.id, limit=2)
        assert [item.id for item in newest.data] == [item.id for item in items[:-3:-1]]
        assert newest.has_more
        paged = [item.id async for item in api.responses.input_items.list(third.id, limit=2)]
        assert paged == [item.id for item in reversed(items)]


async def test_a_stream_is_kept_before_its_end_is_told(start: Start, start_upstream: StartUpstream) -> None:
    gateway = await ready(start, await start_upstream())
    async with client(gateway.port) as api:
        stream = await api.responses.create(model="m", input="a", stream=True)
        kinds = []
        async for event in stream:
            kinds.append(event.type)
            if event.type == "response.completed":
                assert await api.responses.retrieve(event.response.id) == event.response
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    (line,) = [line for line in gateway.log if line.get("route") == "/v1/responses"]
    assert (line["prompt_tokens"], line["completion_tokens"], line["stream"]) == (7, 2, True)


async def test_others_responses_do_not_exist(start: Start, start_upstream: StartUpstream) -> None:
    gateway = await ready(start, await start_upstream(), key={"owner": "a"})
    gateway.state.key("same", "sk-same", owner="a")
    gateway.state.key("other", "sk-other", owner="b")
    await gateway.until(lambda: len(gateway.gateway.catalog.snapshot.keyring.keys) == 3)
    async with client(gateway.port) as api, client(gateway.port, "sk-other") as other:
        mine = await api.responses.create(model="m", input="a")
        for refused in (
            other.responses.retrieve(mine.id),
            other.responses.delete(mine.id),
            other.responses.cancel(mine.id),
            other.responses.input_items.list(mine.id),
            other.responses.create(model="m", input="b", previous_response_id=mine.id),
        ):
            with pytest.raises(openai.NotFoundError) as caught:
                await refused
            assert caught.value.code == "response_not_found"
    async with client(gateway.port, "sk-same") as colleague:
        assert (await colleague.responses.retrieve(mine.id)).id == mine.id


async def test_what_is_not_kept_is_not_found(start: Start, start_upstream: StartUpstream) -> None:
    gateway = await ready(start, await start_upstream())
    async with client(gateway.port) as api:
        loose = await api.responses.create(model="m", input="a", store=False)
        assert loose.output_text == "Hello"
        kept = await api.responses.create(model="m", input="a")
        following = await api.responses.create(model="m", input="b", previous_response_id=kept.id)
        await api.responses.delete(kept.id)
        for gone in (loose.id, kept.id):
            with pytest.raises(openai.NotFoundError):
                await api.responses.retrieve(gone)
        with pytest.raises(openai.NotFoundError, match="deleted") as broken:
            await api.responses.create(model="m", input="c", previous_response_id=following.id)
        assert broken.value.param == "previous_response_id"


async def test_a_conversation_has_bounds(start: Start, start_upstream: StartUpstream) -> None:
    gateway = await ready(start, await start_upstream(), max_messages=7, max_body=8192)
    async with client(gateway.port) as api:
        last = None
        for _ in range(4):
            last = await api.responses.create(
                model="m", input="a", previous_response_id=last.id if last else None
            )
        assert last is not None
        with pytest.raises(openai.BadRequestError, match="too long"):
            await api.responses.create(model="m", input="a", previous_response_id=last.id)
        wide = await api.responses.create(model="m", input="x" * 7900)
        with pytest.raises(openai.BadRequestError, match="too long"):
            await api.responses.create(model="m", input="a", previous_response_id=wide.id)


async def test_without_a_database_nothing_is_begun_that_could_not_be_kept(
    start: Start, start_upstream: StartUpstream, tmp_path: Path
) -> None:
    upstream = await start_upstream()
    database = tmp_path / "responses.db"
    gateway = await ready(start, upstream, database_url=f"sqlite:///{database}", database_timeout=0.2)
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    async with client(gateway.port) as api:
        with pytest.raises(openai.InternalServerError) as refused:
            await api.responses.create(model="m", input="a")
        assert refused.value.code == "database_unavailable"
        assert upstream.requests == []
        assert (await api.responses.create(model="m", input="a", store=False)).output_text == "Hello"
        holder.execute("ROLLBACK")
        holder.close()
        assert (await api.responses.create(model="m", input="a")).output_text == "Hello"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_end_that_cannot_be_kept_is_not_told(
    start: Start, start_upstream: StartUpstream, tmp_path: Path, *, stream: bool
) -> None:
    database = tmp_path / "responses.db"
    holder = sqlite3.connect(database, isolation_level=None, check_same_thread=False)

    async def script(exchange: Exchange) -> None:
        holder.execute("BEGIN EXCLUSIVE")
        await behave(exchange)

    upstream = await start_upstream(script)
    gateway = await ready(start, upstream, database_url=f"sqlite:///{database}", database_timeout=0.2)
    async with client(gateway.port) as api:
        if stream:
            events = [each async for each in await api.responses.create(model="m", input="a", stream=True)]
            assert events[-1].type == "response.failed"
            assert "database" in (events[-1].response.error.message if events[-1].response.error else "")
            assert "response.completed" not in [event.type for event in events]
        else:
            with pytest.raises(openai.InternalServerError) as refused:
                await api.responses.create(model="m", input="a")
            assert refused.value.code == "database_unavailable"
    holder.execute("ROLLBACK")
    holder.close()


async def test_in_the_background(start: Start, start_upstream: StartUpstream) -> None:
    gateway = await ready(start, await start_upstream())
    async with client(gateway.port) as api:
        queued = await api.responses.create(model="m", input="a", background=True)
        assert (queued.status, queued.output) == ("queued", [])
        made = await until_status(api, queued.id, "completed")
        assert made.output_text == "Hello"
        assert made.usage is not None
        assert made.usage.total_tokens == 9
        following = await api.responses.create(model="m", input="b", previous_response_id=queued.id)
        assert following.status == "completed"
        assert (await api.responses.cancel(queued.id)).status == "completed"  # It has ended; nothing changes.
        with pytest.raises(openai.BadRequestError, match="background"):
            await api.responses.cancel(following.id)


async def test_a_refusal_is_told_at_once_in_the_background_too(
    start: Start, start_upstream: StartUpstream
) -> None:
    gateway = await ready(start, await start_upstream(), key={"limits": {"requestsPerMinute": 1}})
    async with client(gateway.port) as api:
        with pytest.raises(openai.NotFoundError):
            await api.responses.create(model="no", input="a", background=True)
        await api.responses.create(model="m", input="a", background=True)
        with pytest.raises(openai.RateLimitError) as refused:
            await api.responses.create(model="m", input="a", background=True)
        assert refused.value.response.headers["retry-after"]
        with pytest.raises(openai.BadRequestError, match="store"):
            await api.responses.create(model="m", input="a", background=True, store=False)


async def test_a_failure_in_the_background_is_kept(start: Start, start_upstream: StartUpstream) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer({"error": {"message": "The prompt is too long."}}, 400)

    gateway = await ready(start, await start_upstream(script))
    async with client(gateway.port) as api:
        queued = await api.responses.create(model="m", input="a", background=True)
        found = await until_status(api, queued.id, "failed")
        assert found.error is not None
        assert (found.error.code, found.error.message) == ("invalid_prompt", "The prompt is too long.")
        with pytest.raises(openai.BadRequestError, match="failed"):
            await api.responses.create(model="m", input="b", previous_response_id=queued.id)


async def test_any_gateway_cancels_and_the_engine_stops(
    start: Start, start_upstream: StartUpstream, tmp_path: Path
) -> None:
    upstream = await start_upstream(hang)
    url = f"sqlite:///{tmp_path / 'both.db'}"
    maker = await ready(start, upstream, database_url=url)
    other = await ready(start, upstream, database_url=url)
    for gateway in (maker, other):
        async with client(maker.port) as api, client(gateway.port) as canceller:
            queued = await api.responses.create(model="m", input="a", background=True)
            await maker.until(lambda: maker.outstanding(upstream) == 1)
            assert (await canceller.responses.cancel(queued.id)).status == "cancelled"
            await maker.until(lambda: maker.outstanding(upstream) == 0)
            assert (await api.responses.retrieve(queued.id)).status == "cancelled"
            assert (await canceller.responses.cancel(queued.id)).status == "cancelled"
            gone = await api.responses.create(model="m", input="a", background=True)
            await maker.until(lambda: maker.outstanding(upstream) == 1)
            await canceller.responses.delete(gone.id)
            await maker.until(lambda: maker.outstanding(upstream) == 0)


async def test_a_stream_from_the_background_can_be_left_and_followed_from_any_gateway(
    start: Start, start_upstream: StartUpstream, tmp_path: Path
) -> None:
    go_on = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(chunk("On"))
        await go_on.wait()
        for word in ("ce", " upon"):
            await exchange.event(chunk(word))
        await exchange.end_stream()

    upstream = await start_upstream(script)
    url = f"sqlite:///{tmp_path / 'both.db'}"
    maker = await ready(start, upstream, database_url=url)
    other = await ready(start, upstream, database_url=url)
    async with client(maker.port) as api, client(other.port) as follower:
        stream = await api.responses.create(model="m", input="a", background=True, stream=True)
        seen = []
        async for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta":
                break
        await stream.close()
        assert event.sequence_number == len(seen) - 1
        first = seen[0]
        assert first.type == "response.created"
        assert maker.outstanding(upstream) == 1
        rest = await follower.responses.retrieve(
            first.response.id, stream=True, starting_after=event.sequence_number
        )
        go_on.set()
        seen += [each async for each in rest]
        assert [each.sequence_number for each in seen] == list(range(len(seen)))
        last = seen[-1]
        assert last.type == "response.completed"
        assert last.response.output_text == "Once upon"
        again = [each async for each in await api.responses.retrieve(first.response.id, stream=True)]
        assert again == seen
        with contextlib.closing(sqlite3.connect(tmp_path / "both.db")) as connection, connection:
            connection.execute("DELETE FROM response_events")  # As happens after an hour.
        late = [each async for each in await follower.responses.retrieve(first.response.id, stream=True)]
        assert [each.type for each in late] == ["response.completed"]
        upstream.script = behave
        plain = await api.responses.create(model="m", input="a")
        with pytest.raises(openai.BadRequestError, match="background"):
            await api.responses.retrieve(plain.id, stream=True)


async def test_following_ends_with_a_response_that_fails_or_is_cancelled(
    start: Start, start_upstream: StartUpstream
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer({"error": {"message": "The prompt is too long."}}, 400)

    upstream = await start_upstream(refuse)
    gateway = await ready(start, upstream)
    async with client(gateway.port) as api:
        stream = await api.responses.create(model="m", input="a", background=True, stream=True)
        assert [event.type async for event in stream] == ["response.failed"]
        upstream.script = hang
        stream = await api.responses.create(model="m", input="a", background=True, stream=True)
        kinds = []
        async for event in stream:
            kinds.append(event.type)
            if event.type == "response.created":
                await api.responses.cancel(event.response.id)
        assert kinds[0] == "response.created"
        assert "response.completed" not in kinds


async def test_a_client_that_leaves_cancels_what_it_waited_for(
    start: Start, start_upstream: StartUpstream
) -> None:
    upstream = await start_upstream(hang)
    gateway = await ready(start, upstream)
    async with client(gateway.port) as api:
        stream = await api.responses.create(model="m", input="a", stream=True)
        first = await anext(aiter(stream))
        assert first.type == "response.created"
        await stream.close()
        await gateway.until(lambda: gateway.outstanding(upstream) == 0)
        found = await until_status(api, first.response.id, "cancelled")
        assert found.output == [] or found.output_text == "On"


async def test_an_engine_that_dies_fails_the_response(start: Start, start_upstream: StartUpstream) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(chunk("On"))
        exchange.abort()

    gateway = await ready(start, await start_upstream(script))
    async with client(gateway.port) as api:
        events = [each async for each in await api.responses.create(model="m", input="a", stream=True)]
        assert events[-1].type == "response.failed"
        found = await api.responses.retrieve(events[-1].response.id)
        assert (found.status, found.output_text) == ("failed", "On")
        queued = await api.responses.create(model="m", input="a", background=True)
        found = await until_status(api, queued.id, "failed")
        assert found.error is not None
        assert found.error.code == "server_error"


async def test_a_failure_is_kept_before_it_is_told(
    start: Start, start_upstream: StartUpstream, tmp_path: Path
) -> None:
    database = tmp_path / "responses.db"
    holder = sqlite3.connect(database, isolation_level=None)

    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(chunk("On"))
        holder.execute("BEGIN IMMEDIATE")
        exchange.abort()

    gateway = await ready(start, await start_upstream(script), database_url=f"sqlite:///{database}")
    async with client(gateway.port) as api:
        stream = await api.responses.create(model="m", input="a", stream=True)
        kinds: list[str] = []
        reading = asyncio.create_task(id_of_failed(stream, kinds))
        assert not (await asyncio.wait({reading}, timeout=0.3))[0], kinds
        holder.execute("ROLLBACK")
        assert (await api.responses.retrieve(await reading)).status == "failed"
    holder.close()


async def id_of_failed(stream: openai.AsyncStream[ResponseStreamEvent], kinds: list[str]) -> str:
    """The id of the response whose failure the stream tells."""
    async for event in stream:
        kinds.append(event.type)
        if event.type == "response.failed":
            return event.response.id
    raise AssertionError(kinds)


async def test_what_was_cancelled_elsewhere_is_told_no_other_end(
    start: Start, start_upstream: StartUpstream, tmp_path: Path
) -> None:
    go_on = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event(chunk("On"))
        await go_on.wait()
        await exchange.end_stream()

    upstream = await start_upstream(script)
    url = f"sqlite:///{tmp_path / 'both.db'}"
    maker = await ready(start, upstream, database_url=url)
    other = await ready(start, upstream, database_url=url)
    async with client(maker.port) as api, client(other.port) as canceller:
        stream = await api.responses.create(model="m", input="a", background=True, stream=True)
        kinds = []
        async for event in stream:
            kinds.append(event.type)
            if event.type == "response.created":
                response = event.response.id
            if event.type == "response.output_text.delta":
                await canceller.responses.cancel(response)
                go_on.set()  # Before the maker has looked whether it is still wanted.
        await maker.until(lambda: maker.gateway.serving.in_flight == 0)
        kinds += [each.type async for each in await api.responses.retrieve(response, stream=True)]
        assert "response.completed" not in kinds
        assert (await api.responses.retrieve(response)).status == "cancelled"


async def test_a_refused_response_leaves_nothing_behind(
    start: Start, start_upstream: StartUpstream, tmp_path: Path
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer({"error": {"message": "No."}}, 400)

    database = tmp_path / "responses.db"
    gateway = await ready(start, await start_upstream(script), database_url=f"sqlite:///{database}")
    async with client(gateway.port) as api:
        with pytest.raises(openai.BadRequestError):
            await api.responses.create(model="m", input="a")
    assert rows(database) == []


def rows(database: Path) -> list[tuple[str, str]]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return list(connection.execute("SELECT id, status FROM responses"))


async def test_what_a_killed_gateway_left_is_failed_by_the_next(
    start_upstream: StartUpstream, tmp_path: Path
) -> None:
    state = state_over(await start_upstream(hang), tmp_path / "state")
    async with process(state) as (killed, api):
        queued = await api.responses.create(model="m", input="a", background=True)
        await until_status(api, queued.id, "in_progress")
        killed.kill()
    database = state.folder / "gateway.db"
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE responses SET lease_until_us = 1")  # Its time is over.
    async with process(state) as (_, api):
        found = await until_status(api, queued.id, "failed")
        assert found.error is not None
        assert "gateway" in found.error.message


async def test_a_gateway_that_stops_fails_what_it_was_making(
    start_upstream: StartUpstream, tmp_path: Path
) -> None:
    state = state_over(await start_upstream(hang), tmp_path / "state")
    async with process(state, "--drain-timeout", "1") as (stopped, api):
        queued = await api.responses.create(model="m", input="a", background=True)
        await until_status(api, queued.id, "in_progress")
        stopped.send(signal.SIGTERM)
        assert await asyncio.to_thread(stopped.wait) == 0
    assert rows(state.folder / "gateway.db") == [(queued.id, "failed")]


async def test_what_is_old_is_deleted_in_batches_but_not_what_is_gone_on_from(
    start: Start, start_upstream: StartUpstream, tmp_path: Path
) -> None:
    database = tmp_path / "responses.db"
    upstream = await start_upstream()
    gateway = await ready(start, upstream, database_url=f"sqlite:///{database}")
    async with client(gateway.port) as api:
        first = await api.responses.create(model="m", input="a")
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        soon = "UPDATE responses SET expires_us = created_us + 1"
        connection.execute(soon)
    async with client(gateway.port) as api:
        second = await api.responses.create(model="m", input="b", previous_response_id=first.id)
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        for number in range(BATCH + 5):
            connection.execute(
                "INSERT INTO responses SELECT ?, owner, key, status, background, stream, previous,"
                " created_us, 1, gateway, lease_until_us, size, input, response FROM responses WHERE id = ?",
                (f"old{number}", first.id),
            )
    later = await ready(start, upstream, database_url=f"sqlite:///{database}")  # Which looks as it starts.
    await later.until(lambda: len(rows(database)) == 2)
    assert {row[0] for row in rows(database)} == {first.id, second.id}


async def test_the_tokens_of_a_prompt_are_counted(start: Start, start_upstream: StartUpstream) -> None:
    upstream = await start_upstream()
    gateway = await ready(start, upstream)
    async with client(gateway.port) as api:
        first = await api.responses.create(model="m", input="a")
        counted = await api.responses.input_tokens.count(
            model="m", input="b", previous_response_id=first.id, instructions="Be kind."
        )
    assert (counted.input_tokens, counted.object) == (1, "response.input_tokens")
    assert upstream.requests[-1].target == "/tokenize"
    assert said(upstream) == [("system", "Be kind."), ("user", "a"), ("assistant", "Hello"), ("user", "b")]


async def test_what_is_asked_of_the_engine_is_a_chat_completion(
    start: Start, start_upstream: StartUpstream
) -> None:
    upstream = await start_upstream()
    gateway = await ready(start, upstream)
    reply = await gateway.call("/v1/responses", {"model": "m", "input": "a", "metadata": {"x": "y"}})
    assert reply.json["metadata"] == {"x": "y"}
    assert upstream.requests[-1].target == "/v1/chat/completions"
    assert json.loads(upstream.requests[-1].body) == {
        "model": "m",
        "messages": [{"role": "user", "content": "a"}],
    }
    refused = await gateway.call("/v1/responses", {"model": "m", "input": "a", "conversation": "c"})
    assert (refused.status, refused.error["param"]) == (400, "conversation")
