"""Gateway, recorder and database are killed while requests flow: every request keeps exactly one record."""

import asyncio
import os
import signal
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from integration.awaiting import until
from integration.gateway.clients import Reply, connect, request
from integration.gateway.conftest import StartUpstream
from integration.gateway.processes import Process
from integration.gateway.upstreams import Exchange, chunk, usage_chunk
from integration.servers import Postgres
from integration.usage.conftest import StartPlace, ask
from slipway.gateway.usage.rows import KILLED

STREAMS = 50


def recorder_of(gateway: Process) -> int | None:
    """The process id of a gateway's recorder."""
    children = Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()
    for child in children:
        if b"slipway.gateway.usage" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    return None


@pytest.mark.parametrize("restarted", [False, True], ids=["its own recorder", "the next gateway"])
async def test_a_gateway_killed_in_the_middle_of_streams_loses_no_record(
    start_upstream: StartUpstream, place: StartPlace, *, restarted: bool
) -> None:
    finished: set[str] = set()
    half_way = asyncio.Event()
    started = 0

    async def script(exchange: Exchange) -> None:
        nonlocal started
        body, request_id = exchange.request.json, exchange.request.headers["x-request-id"]
        await exchange.begin_stream()
        await exchange.event(chunk("Hel"))
        started += 1
        if body["messages"][0]["content"] == "long":
            if started == STREAMS:
                half_way.set()
            await exchange.closed_by_peer()
            return
        await exchange.event(usage_chunk())
        await exchange.end_stream()
        finished.add(request_id)
        if started == STREAMS:
            half_way.set()

    there = place(await start_upstream(script))
    gateway = there.start()
    port = gateway.port()
    recorder = await until(lambda: recorder_of(gateway), "the recorder")

    async def stream(number: int) -> None:
        content = "long" if number % 2 else "short"
        body = {"model": "m", "messages": [{"role": "user", "content": content}], "stream": True}
        async with connect(port) as connection:
            await connection.send(request("/v1/chat/completions", body))
            await connection.at_end()

    streams = [asyncio.create_task(stream(number)) for number in range(STREAMS)]
    await half_way.wait()
    if restarted:
        os.kill(recorder, signal.SIGKILL)
    gateway.kill()
    await asyncio.gather(*streams)
    if restarted:
        there.start().port()

    records = await there.recorded(STREAMS)
    ids = Counter(record["request_id"] for record in records)
    assert len(ids) == len(records) == STREAMS
    assert finished <= set(ids)
    for record in records:
        if record["error"] == KILLED:
            assert record["estimated"]
            assert record["prompt_tokens"] > 0
        else:
            assert (record["prompt_tokens"], record["completion_tokens"]) == (7, 2)
    assert sum(record["error"] == KILLED for record in records) >= STREAMS // 2


async def test_a_recorder_killed_again_and_again_records_each_request_once(
    start_upstream: StartUpstream, place: StartPlace
) -> None:
    there = place(await start_upstream())
    gateway = there.start()
    port = gateway.port()
    killed = 0
    for number in range(120):
        assert (await ask(port)).status == 200
        if number % 30 == 10:
            os.kill(await until(lambda: recorder_of(gateway), "the recorder"), signal.SIGKILL)
            killed += 1

    records = await there.recorded(120)

    assert killed == 4
    assert [record["closing"] for record in records] == list(range(1, 121))


async def test_a_database_that_is_killed_costs_no_request_and_no_record(
    start_upstream: StartUpstream, place: StartPlace, own_postgres: Postgres
) -> None:
    there = place(await start_upstream(), url=own_postgres.new_database())
    gateway = there.start(database_timeout=2)
    port = gateway.port()
    asked = 0

    async def load(seconds: float) -> None:
        nonlocal asked
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            replies = await asyncio.gather(*(ask(port) for _ in range(4)))
            assert [reply.status for reply in replies] == [200] * 4
            asked += 4

    await load(0.5)
    for fault, mend in (
        (own_postgres.kill, own_postgres.start),
        (own_postgres.pause, own_postgres.resume),
        (own_postgres.kill, own_postgres.start),
    ):
        fault()
        await load(1.0)
        await asyncio.to_thread(mend)
        await load(0.3)

    records = await there.recorded(asked)
    assert len({record["request_id"] for record in records}) == len(records) == asked
    assert sorted(record["closing"] for record in records) == list(range(1, asked + 1))


async def test_all_killed_at_once_then_started_again(
    start_upstream: StartUpstream, place: StartPlace, own_postgres: Postgres
) -> None:
    there = place(await start_upstream(), url=own_postgres.new_database())
    asked = 0
    for _ in range(3):
        gateway = there.start()
        port = gateway.port()
        recorder = await until(partial(recorder_of, gateway), "the recorder")
        for _ in range(20):
            assert (await ask(port)).status == 200
            asked += 1
        own_postgres.kill()
        os.kill(recorder, signal.SIGKILL)
        gateway.kill()
        await asyncio.to_thread(own_postgres.start)
    there.start().port()

    records = await there.recorded(asked)

    assert len({record["request_id"] for record in records}) == len(records) == asked


async def test_nothing_unrecorded_is_served_when_the_journal_is_full(
    start_upstream: StartUpstream, place: StartPlace, own_postgres: Postgres
) -> None:
    there = place(await start_upstream(), url=own_postgres.new_database())
    gateway = there.start(usage_journal_max=1 << 20, database_timeout=1)
    port = gateway.port()
    assert (await ask(port)).status == 200
    await there.recorded(1)
    own_postgres.kill()

    served, refused = await _until_refused(port)
    assert refused.error["code"] == "usage_unavailable"
    assert refused.status == 503
    assert "retry-after" in refused.headers
    await asyncio.to_thread(own_postgres.start)

    while (await ask(port)).status != 200:  # noqa: ASYNC110 - the gateway looks again by itself
        await asyncio.sleep(0.05)

    def answered() -> int:
        return sum(record["status"] == 200 for record in there.records())

    await until(lambda: answered() >= served + 2, "the records")
    assert answered() == served + 2


async def _until_refused(port: int) -> tuple[int, Reply]:
    """Ask over one connection until a request is refused; how many were served, and the refusal."""
    served = 0
    async with connect(port) as connection:
        while True:
            body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
            await connection.send(request("/v1/chat/completions", body, close=False))
            reply = await connection.read_reply()
            if reply.status != 200:
                return served, reply
            served += 1
