"""Files and batches with OpenAI's client: a real gateway, a scripted engine."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, BadRequestError, NotFoundError
from openai.types import Batch

from integration.gateway.conftest import Running, Start, StartUpstream
from integration.gateway.processes import Process
from integration.gateway.states import State
from integration.gateway.upstreams import Exchange, Upstream, behave


def request(number: int, **body: Any) -> dict[str, Any]:
    return {
        "custom_id": f"c{number}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "m", "messages": [{"role": "user", "content": f"q{number}"}], **body},
    }


def jsonl(*lines: object) -> bytes:
    return b"".join(
        (each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n" for each in lines
    )


def client_of(port: int, token: str = "sk-test") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=token, max_retries=0)


@pytest.fixture
async def client() -> AsyncIterator[Any]:
    opened: list[AsyncOpenAI] = []

    def make(port: int, token: str = "sk-test") -> AsyncOpenAI:
        opened.append(client_of(port, token))
        return opened[-1]

    yield make
    for each in opened:
        await each.close()


async def ended(client: AsyncOpenAI, batch: str) -> Batch:
    while True:
        found = await client.batches.retrieve(batch)
        if found.status in ("completed", "failed", "cancelled", "expired"):
            return found
        await asyncio.sleep(0.02)


async def answered(client: AsyncOpenAI, batch: str, least: int) -> None:
    while True:
        counts = (await client.batches.retrieve(batch)).request_counts
        if counts is not None and counts.completed >= least:
            return
        await asyncio.sleep(0.02)


async def submit(client: AsyncOpenAI, *lines: object) -> Batch:
    file = await client.files.create(file=("in.jsonl", jsonl(*lines)), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"job": "night"},
    )


async def lines_of(client: AsyncOpenAI, file: str | None) -> list[dict[str, Any]]:
    assert file is not None
    content = await client.files.content(file)
    return [json.loads(line) for line in content.content.splitlines()]


async def test_files_are_kept_listed_read_and_deleted(
    start: Start, start_upstream: StartUpstream, client: Any
) -> None:
    running: Running = await start(await start_upstream())
    await running.until(lambda: running.gateway.database.migrated)
    openai = client(running.port)
    data = bytes(range(256)) * 12_000  # Three pieces.
    made = await openai.files.create(
        file=("a b.bin", data), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert (made.bytes, made.filename, made.purpose) == (len(data), "a b.bin", "user_data")
    assert made.expires_at == made.created_at + 3600
    others = [(await openai.files.create(file=(f"{n}", b"x"), purpose="batch")).id for n in range(3)]
    assert (await openai.files.content(made.id)).content == data
    assert [each.id async for each in openai.files.list(limit=2)] == [*reversed(others), made.id]
    assert [each.id async for each in openai.files.list(purpose="user_data")] == [made.id]
    assert (await openai.files.delete(made.id)).deleted
    with pytest.raises(NotFoundError):
        await openai.files.retrieve(made.id)


async def test_another_owners_file_does_not_exist(
    start: Start, start_upstream: StartUpstream, client: Any
) -> None:
    running = await start(await start_upstream(), key={"owner": "a"})
    running.state.key("other", "sk-other", owner="b")
    await running.until(lambda: running.gateway.database.migrated)
    await running.until(lambda: len(running.gateway.catalog.snapshot.keyring.keys) == 2)
    mine, theirs = client(running.port), client(running.port, "sk-other")
    made = await mine.files.create(file=("f", b"secret"), purpose="batch")
    for attempt in (theirs.files.retrieve, theirs.files.content, theirs.files.delete):
        with pytest.raises(NotFoundError):
            await attempt(made.id)
    with pytest.raises(NotFoundError):
        await theirs.batches.create(
            input_file_id=made.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
    assert [each.id async for each in theirs.files.list()] == []


async def test_a_file_beyond_the_bound_leaves_nothing(
    start: Start, start_upstream: StartUpstream, client: Any
) -> None:
    running = await start(await start_upstream(), file_max=100_000, files_max=150_000)
    await running.until(lambda: running.gateway.database.migrated)
    openai = client(running.port)
    await openai.files.create(file=("f", b"x" * 90_000), purpose="batch")
    with pytest.raises(BadRequestError, match="Delete some first"):
        await openai.files.create(file=("f", b"x" * 90_000), purpose="batch")
    with pytest.raises(APIStatusError) as told:
        await openai.files.create(file=("f", b"x" * 200_000), purpose="batch")
    assert told.value.status_code == 413
    assert len([each async for each in openai.files.list()]) == 1


async def test_a_batch_answers_every_line_once_and_tells_its_progress(
    start: Start, start_upstream: StartUpstream, client: Any
) -> None:
    running = await start(await start_upstream())
    await running.until(lambda: running.gateway.database.migrated)
    openai = client(running.port)
    wrong = request(99, temperature=9)
    batch = await ended(openai, (await submit(openai, *map(request, range(40)), wrong)).id)
    assert batch.status == "completed"
    assert batch.request_counts is not None
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (41, 40, 1)
    assert batch.metadata == {"job": "night"}
    assert batch.usage is not None
    assert batch.usage.total_tokens == 40 * 9
    answers = await lines_of(openai, batch.output_file_id)
    assert [each["custom_id"] for each in answers] == [f"c{number}" for number in range(40)]
    assert all(each["response"]["status_code"] == 200 for each in answers)
    assert answers[0]["response"]["body"]["object"] == "chat.completion"
    errors = await lines_of(openai, batch.error_file_id)
    assert [each["custom_id"] for each in errors] == ["c99"]
    assert errors[0]["response"]["body"]["error"]["param"] == "temperature"


async def test_a_request_for_a_batch_is_bounded_and_read_for_a_key_only(
    start: Start, start_upstream: StartUpstream
) -> None:
    gateway = await start(await start_upstream())
    fill = {"metadata": {"fill": "x" * 262_144}}
    assert (await gateway.call("/v1/batches", fill)).status == 413
    assert (await gateway.call("/v1/batches", {"endpoint": 1}, key="sk-wrong")).status == 401
    refused = await gateway.call("/v1/batches", {"endpoint": 1})
    assert (refused.status, refused.error["param"]) == (400, "input_file_id")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", "invalid_json_line"),
        ([1], "invalid_json_line"),
        ({**request(1), "method": "GET"}, "invalid_method"),
        ({**request(1), "url": "/v1/embeddings"}, "mismatched_url"),
        ({**request(1), "custom_id": ""}, "invalid_custom_id"),
        ({**request(1), "body": []}, "invalid_body"),
        ({**request(1), "api_base": "http://x"}, "unknown_parameter"),
        (request(1, stream=True), "invalid_body"),
        (request(0), "duplicate_custom_id"),
    ],
)
async def test_a_mistake_fails_the_batch_and_names_its_line(
    start: Start, start_upstream: StartUpstream, client: Any, line: object, code: str
) -> None:
    upstream: Upstream = await start_upstream()
    running = await start(upstream)
    await running.until(lambda: running.gateway.database.migrated)
    openai = client(running.port)
    batch = await ended(openai, (await submit(openai, request(0), line)).id)
    assert batch.status == "failed"
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert [(each.code, each.line) for each in batch.errors.data] == [(code, 2)]
    assert upstream.requests == []


async def test_a_batch_waits_where_its_keys_limit_says_so(
    start: Start, start_upstream: StartUpstream, client: Any
) -> None:
    running = await start(await start_upstream(), key={"limits": {"maxParallel": 2}})
    await running.until(lambda: running.gateway.database.migrated)
    openai = client(running.port)
    batch = await ended(openai, (await submit(openai, *map(request, range(6)))).id)
    assert batch.request_counts is not None
    assert (batch.status, batch.request_counts.completed) == ("completed", 6)


async def test_cancelling_stops_the_engines_work_and_keeps_what_is_there(
    start: Start, start_upstream: StartUpstream, client: Any
) -> None:
    stuck = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.request.json["messages"][0]["content"] == "q0":
            await behave(exchange)
            return
        stuck.set()
        await exchange.closed_by_peer()

    running = await start(await start_upstream(script), batch_parallel=2)
    await running.until(lambda: running.gateway.database.migrated)
    openai = client(running.port)
    made = await submit(openai, *map(request, range(5)))
    await stuck.wait()
    await answered(openai, made.id, 1)
    assert (await openai.batches.cancel(made.id)).status == "cancelling"
    batch = await ended(openai, made.id)
    assert batch.status == "cancelled"
    assert [each["custom_id"] for each in await lines_of(openai, batch.output_file_id)] == ["c0"]
    assert batch.error_file_id is None


async def test_a_killed_gateways_batch_goes_on_in_the_next(
    tmp_path: Any, start_upstream: StartUpstream, client: Any
) -> None:
    held = asyncio.Event()
    release = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if int(exchange.request.json["messages"][0]["content"][1:]) >= 10 and not release.is_set():
            held.set()
            await exchange.closed_by_peer()
            return
        await behave(exchange)

    upstream = await start_upstream(script)
    state = State(tmp_path / "state")
    state.service("m")
    state.key()
    state.endpoints(m=[upstream.address])
    first = Process(state.folder, batch_parallel=4)
    port = await asyncio.to_thread(first.port)
    openai = client(port)
    made = None
    while made is None:
        try:
            made = await submit(openai, *map(request, range(20)))
        except Exception:  # The database is being made.
            await asyncio.sleep(0.05)
    await held.wait()
    await answered(openai, made.id, 10)
    await asyncio.to_thread(first.kill)
    release.set()
    asked_before = len(upstream.requests)
    second = Process(state.folder, batch_parallel=4)
    try:
        openai = client(await asyncio.to_thread(second.port))
        batch = await ended(openai, made.id)
        assert batch.request_counts is not None
        assert (batch.status, batch.request_counts.completed) == ("completed", 20)
        answers = await lines_of(openai, batch.output_file_id)
        assert [each["custom_id"] for each in answers] == [f"c{number}" for number in range(20)]
        assert len(upstream.requests) - asked_before == 10
    finally:
        await asyncio.to_thread(second.kill)
