"""Engines that fail, hang and are full; routes to other models; who is served first."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from integration.gateway.clients import Reply, chat
from integration.gateway.conftest import Running, Start, StartUpstream
from integration.gateway.upstreams import Exchange, behave, chunk

TESTS = Path(__file__).resolve().parents[2]
CHAT = "/v1/chat/completions"


class EngineProcess:
    """A stand-in engine that is a process, so that it can be stopped where it is."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "soak.engine", str(folder / "finished")]
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        assert self._process.stdout is not None
        self.address = f"127.0.0.1:{int(self._process.stdout.readline())}"

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineProcess]:
    made = EngineProcess(tmp_path)
    yield made
    made.end()


def held(running: Running) -> int:
    return running.gateway.relay.waiting


async def test_requests_at_an_engine_that_hangs_go_elsewhere(
    start: Start, start_upstream: StartUpstream, engine: EngineProcess
) -> None:
    """SIGSTOP: it accepts connections and answers nothing. Nothing had begun, so only time is lost."""
    upstream = await start_upstream()
    running = await start(engine.address, upstream, stall=0.2, stall_patience=0.2)
    engine.send(signal.SIGSTOP)
    replies = await asyncio.gather(*(running.call("/v1/chat/completions", chat()) for _ in range(8)))
    assert [reply.status for reply in replies] == [200] * 8
    assert len(upstream.requests) == 8
    assert any(line["event"] == "stalled" for line in running.log)
    text = (await running.call("/metrics", key=None)).body.decode()
    assert "slipway_endpoint_stalls_total 1.0" in text
    assert 'slipway_upstream_retries_total{reason="stalled",service="m"}' in text
    engine.send(signal.SIGCONT)


async def test_a_lone_engine_that_hangs_is_told_in_seconds(start: Start, engine: EngineProcess) -> None:
    running = await start(engine.address, stall=0.2, stall_patience=0.2)
    engine.send(signal.SIGSTOP)
    reply = await running.call("/v1/chat/completions", chat())
    assert (reply.status, reply.error["code"]) == (504, "engine_timeout")
    engine.send(signal.SIGCONT)


async def test_an_engine_that_is_silent_and_healthy_is_left_alone(
    start: Start, start_upstream: StartUpstream
) -> None:
    async def slow(exchange: Exchange) -> None:
        if exchange.request.target == "/health":
            await exchange.answer({})
            return
        await asyncio.sleep(1.0)
        await behave(exchange)

    upstream = await start_upstream(slow)
    running = await start(upstream, stall=0.1, stall_patience=0.5)
    reply = await running.call("/v1/chat/completions", chat())
    assert reply.status == 200
    assert any(each.target == "/health" for each in upstream.requests)


async def test_an_engine_that_hangs_after_its_head_alone_is_left_too(
    start: Start, start_upstream: StartUpstream
) -> None:
    """Servers send the head of a stream before the first token: nothing has reached the client."""
    release = asyncio.Event()

    async def hang(exchange: Exchange) -> None:
        if exchange.request.target != "/health":
            await exchange.send(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            )
        await release.wait()

    hung, sound = await start_upstream(hang), await start_upstream()
    running = await start(hung, sound, stall=0.2, stall_patience=0.2)
    replies = await asyncio.gather(*(running.call(CHAT, chat(stream=True)) for _ in range(4)))
    assert [reply.status for reply in replies] == [200] * 4
    assert len(sound.requests) == 4
    release.set()


async def test_an_engine_that_hangs_is_asked_for_answers_again_once_it_lives(
    start: Start, start_upstream: StartUpstream, engine: EngineProcess
) -> None:
    sound = await start_upstream()
    running = await start(engine.address, sound, stall=0.2, stall_patience=0.2)
    engine.send(signal.SIGSTOP)
    await asyncio.gather(*(running.call(CHAT, chat()) for _ in range(4)))
    asked = len(sound.requests)
    for _ in range(10):
        assert (await running.call(CHAT, chat())).status == 200
    assert len(sound.requests) == asked + 10  # Nobody's request finds out that it still hangs.
    engine.send(signal.SIGCONT)
    balancer = running.gateway.relay.balancer
    await running.until(lambda: not balancer.hangs(engine.address) and not balancer.ejected())
    count = len(sound.requests)
    for _ in range(10):
        assert (await running.call(CHAT, chat())).status == 200
    assert len(sound.requests) < count + 10


@pytest.mark.parametrize("moving", [False, True])
async def test_an_engine_that_hangs_behind_its_server_is_known_by_its_token_counts(
    start: Start, start_upstream: StartUpstream, moving: bool
) -> None:
    release = asyncio.Event()
    count = 0

    async def stuck(exchange: Exchange) -> None:
        nonlocal count
        if exchange.request.target == "/metrics":
            count += moving
            body = b'vllm:generation_tokens_total{model_name="m"} %d\n' % (100 + count)
            await exchange.send(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%b"
                % (len(body), body)
            )
        elif exchange.request.target == "/health":
            await exchange.answer({})
        else:
            await release.wait()
            await behave(exchange)

    hung, sound = await start_upstream(stuck), await start_upstream()
    running = await start(hung, sound, stall=0.1, stall_patience=1.0, hang=0.5)
    asked = [asyncio.create_task(running.call(CHAT, chat())) for _ in range(4)]
    if moving:
        await running.until(lambda: count > 10)  # Long after it would have been given up.
        assert not all(task.done() for task in asked)
    else:
        await asyncio.gather(*asked)
        assert len(sound.requests) == 4
    release.set()
    assert {reply.status for reply in await asyncio.gather(*asked)} == {200}


async def test_an_engine_that_was_killed_costs_no_request(
    start: Start, start_upstream: StartUpstream, engine: EngineProcess
) -> None:
    sound = await start_upstream()
    running = await start(engine.address, sound)
    assert (await running.call(CHAT, chat())).status == 200
    engine.send(signal.SIGKILL)
    replies = await asyncio.gather(*(running.call(CHAT, chat()) for _ in range(30)))
    assert {reply.status for reply in replies} == {200}
    assert running.outstanding(sound) == 0
    assert running.gateway.relay.balancer.outstanding(engine.address) == 0


async def test_an_engine_that_fails_every_request_at_once_does_not_draw_them_all(
    start: Start, start_upstream: StartUpstream
) -> None:
    """The quickest has the fewest outstanding: a broken engine would get nearly everything."""

    async def broken(exchange: Exchange) -> None:
        await exchange.answer({"error": {"message": "CUDA error"}}, 500)

    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.02)
        await behave(exchange)

    bad, sound = await start_upstream(broken), await start_upstream(slow)
    running = await start(bad, sound)
    first = await asyncio.gather(*(running.call(CHAT, chat()) for _ in range(20)))
    assert 502 in {reply.status for reply in first}
    asked = len(bad.requests)
    assert running.gateway.relay.balancer.ejected() == 1
    then = await asyncio.gather(*(running.call(CHAT, chat()) for _ in range(30)))
    assert {reply.status for reply in then} == {200}
    assert len(bad.requests) == asked
    text = (await running.call("/metrics", key=None)).body.decode()
    assert "slipway_endpoint_ejections_total 1.0" in text


async def test_retries_have_a_budget(start: Start, start_upstream: StartUpstream) -> None:
    async def broken(exchange: Exchange) -> None:
        exchange.abort()

    bad = [await start_upstream(broken) for _ in range(3)]
    running = await start(*bad, attempts=3, retry_share=0.1)
    replies = await asyncio.gather(*(running.call("/v1/chat/completions", chat()) for _ in range(200)))
    assert {reply.status for reply in replies} == {502}
    asked = sum(len(each.requests) for each in bad)
    assert 200 <= asked <= 200 + 20 + 10 + 20  # A tenth of the requests, what is saved, a few a second.


async def fallback(running: Running, *targets: str, fallbacks: tuple[str, ...] = ()) -> None:
    running.state._object(
        "modelroute",
        "ModelRoute",
        "best",
        {"targets": [{"model": each} for each in targets], "fallbacks": list(fallbacks)},
    )
    await running.until(lambda: "best" in running.gateway.catalog.snapshot.routes)


async def test_a_route_leads_to_its_model(start: Start, start_upstream: StartUpstream) -> None:
    upstream = await start_upstream()
    running = await start(upstream)
    await fallback(running, "m")
    reply = await running.call("/v1/chat/completions", {**chat(), "model": "best"})
    assert (reply.status, reply.headers["x-slipway-model"]) == (200, "m")
    assert upstream.requests[0].json["model"] == "m"
    listed = (await running.call("/v1/models")).json["data"]
    assert {each["id"]: each["ready"] for each in listed}["best"] is True


async def test_a_virtual_models_answer_is_as_long_as_any_of_its_models_can_make(
    start: Start, start_upstream: StartUpstream
) -> None:
    upstream = await start_upstream()
    running = await start(upstream)
    running.state.service("short", engine={"maxModelLen": 100})
    running.state.endpoints(m=[upstream.address], short=[upstream.address])
    await fallback(running, "m", fallbacks=("short",))
    await running.until(lambda: "short" in running.gateway.catalog.snapshot.models)
    asked = {"model": "best", "max_tokens": 5000, "messages": [{"role": "user", "content": "Hi"}]}
    assert (await running.call("/v1/messages", asked)).status == 200
    assert upstream.requests[-1].json["max_tokens"] == 100


@pytest.mark.parametrize("fault", ["gone", "closed", "busy", "failed"])
async def test_a_fallback_answers_where_the_model_cannot(
    start: Start, start_upstream: StartUpstream, fault: str
) -> None:
    async def bad(exchange: Exchange) -> None:
        if fault == "closed":
            exchange.abort()
        else:
            await exchange.answer({"error": {"message": "no"}}, 503 if fault == "busy" else 500)

    first, second = await start_upstream(bad), await start_upstream()
    running = await start(first)
    running.state.service("spare")
    running.state.endpoints(m=[] if fault == "gone" else [first.address], spare=[second.address])
    await fallback(running, "m", fallbacks=("spare",))
    await running.until(lambda: bool(running.gateway.catalog.snapshot.models["spare"].ready))
    for stream in (False, True):
        reply = await running.call("/v1/chat/completions", {**chat(stream=stream), "model": "best"})
        assert (reply.status, reply.headers["x-slipway-model"]) == (200, "spare")


async def test_a_clients_mistake_falls_back_to_nothing(start: Start, start_upstream: StartUpstream) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer({"error": {"message": "too long"}}, 400)

    first, second = await start_upstream(refuse), await start_upstream()
    running = await start(first)
    running.state.service("spare")
    running.state.endpoints(m=[first.address], spare=[second.address])
    await fallback(running, "m", fallbacks=("spare",))
    reply = await running.call("/v1/chat/completions", {**chat(), "model": "best"})
    assert reply.status == 400
    assert second.requests == []


VLLMS_WORDS = {"message": "Internal server error", "type": "InternalServerError", "param": None, "code": 500}
EMPTY = {"json_schema": {"name": "a", "schema": {"$ref": "#"}}, "type": "json_schema"}
CONSTRAINTS: dict[str, dict[str, Any]] = {
    "response_format": {"response_format": EMPTY},
    "structured_outputs": {"structured_outputs": {"grammar": 'root ::= root "a"'}},
}


@pytest.mark.parametrize("begun", ["not streamed", "nothing said", "begun"])
@pytest.mark.parametrize("param", CONSTRAINTS)
async def test_a_constraint_that_allows_no_answer_is_the_clients_mistake(
    start: Start, start_upstream: StartUpstream, param: str, begun: str
) -> None:
    """And speaks against no engine, and is not tried on another one."""

    async def script(exchange: Exchange) -> None:
        if param not in exchange.request.json:
            await behave(exchange)
        elif begun == "not streamed":
            await exchange.answer({"error": VLLMS_WORDS}, 500)
        else:
            await exchange.begin_stream()
            if begun == "begun":
                await exchange.event(chunk(""))
            await exchange.event({"error": VLLMS_WORDS})
            await exchange.end_stream()

    first, second = await start_upstream(script), await start_upstream()
    running = await start(first)
    running.state.service("spare")
    running.state.endpoints(m=[first.address], spare=[second.address])
    await fallback(running, "m", fallbacks=("spare",))
    for _ in range(4):
        asked = {**chat(stream=begun != "not streamed"), **CONSTRAINTS[param], "model": "best"}
        reply = await running.call(CHAT, asked)
        if begun == "begun":
            assert b"[DONE]" not in reply.body
            told = json.loads(reply.body.rpartition(b"data: ")[2])["error"]
        else:
            assert reply.status == 400
            told = reply.json["error"]
        assert (told["param"], told["code"]) == (param, "unsatisfiable_constraint")
        assert told["type"] == "invalid_request_error"
    assert second.requests == []
    assert running.gateway.relay.balancer.ejected() == 0
    reply = await running.call(CHAT, {**chat(), "model": "best"})
    assert (reply.status, len(second.requests)) == (200, 0)


@pytest.mark.parametrize(
    "said", [VLLMS_WORDS, {**VLLMS_WORDS, "message": "EngineCore encountered an issue."}]
)
async def test_an_engine_that_fails_is_no_clients_mistake(
    start: Start, start_upstream: StartUpstream, said: dict[str, object]
) -> None:
    """Neither where nothing constrains the answer, nor where the engine says something else."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer({"error": said}, 500)

    upstream = await start_upstream(script)
    running = await start(upstream)
    constrained = {} if said is VLLMS_WORDS else CONSTRAINTS["response_format"]
    for _ in range(3):
        reply = await running.call(CHAT, {**chat(), **constrained})
        assert (reply.status, reply.json["error"]["code"]) == (502, "engine_failed")
    assert running.gateway.relay.balancer.ejected() == 1


async def test_a_key_needs_to_be_let_to_the_route_alone(start: Start, start_upstream: StartUpstream) -> None:
    running = await start(await start_upstream(), key={"models": ["best"]})
    await fallback(running, "m")
    assert (await running.call("/v1/chat/completions", {**chat(), "model": "best"})).status == 200
    assert (await running.call("/v1/chat/completions", chat())).status == 404


async def test_the_higher_priority_is_served_first_and_evicts_the_lowest(
    start: Start, start_upstream: StartUpstream
) -> None:
    release = asyncio.Event()
    order: list[str] = []

    async def script(exchange: Exchange) -> None:
        order.append(exchange.request.json["messages"][0]["content"])
        if order == ["first"]:
            await release.wait()
        await behave(exchange)

    running = await start(
        await start_upstream(script), max_per_endpoint=1, max_queue=3, key={"priority": "normal"}
    )
    running.state.key("low", "sk-low", priority="low")
    running.state.key("high", "sk-high", priority="high")
    await running.until(lambda: len(running.gateway.catalog.snapshot.keyring.keys) == 3)

    def ask(content: str, key: str) -> "asyncio.Task[Reply]":
        return asyncio.create_task(running.call("/v1/chat/completions", chat(content), key=key))

    tasks = [ask("first", "sk-test")]
    await running.until(lambda: order == ["first"])
    for count, (content, key) in enumerate(
        [("low-1", "sk-low"), ("low-2", "sk-low"), ("normal", "sk-test")], 1
    ):
        tasks.append(ask(content, key))
        await running.until(lambda count=count: held(running) == count)  # type: ignore[misc]
    tasks.append(ask("high", "sk-high"))
    evicted = await tasks[2]
    assert (evicted.status, evicted.error["code"]) == (503, "overloaded")
    assert int(evicted.headers["retry-after"]) >= 1
    release.set()
    await asyncio.gather(*tasks)
    assert order == ["first", "high", "normal", "low-1"]


async def test_one_keys_crowd_delays_another_by_one(start: Start, start_upstream: StartUpstream) -> None:
    release = asyncio.Event()
    order: list[str] = []

    async def script(exchange: Exchange) -> None:
        order.append(exchange.request.json["messages"][0]["content"])
        if order == ["first"]:
            await release.wait()
        await behave(exchange)

    running = await start(await start_upstream(script), max_per_endpoint=1)
    running.state.key("modest", "sk-modest")
    await running.until(lambda: len(running.gateway.catalog.snapshot.keyring.keys) == 2)
    crowd = [asyncio.create_task(running.call("/v1/chat/completions", chat("first")))]
    await running.until(lambda: order == ["first"])
    crowd += [asyncio.create_task(running.call("/v1/chat/completions", chat("crowd"))) for _ in range(30)]
    await running.until(lambda: held(running) == 30)
    modest = asyncio.create_task(running.call("/v1/chat/completions", chat("modest"), key="sk-modest"))
    await running.until(lambda: held(running) == 31)
    release.set()
    assert (await modest).status == 200
    await asyncio.gather(*crowd)
    assert order.index("modest") <= 3


async def test_who_would_wait_too_long_is_refused_at_once(
    start: Start, start_upstream: StartUpstream
) -> None:
    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.05)
        await behave(exchange)

    running = await start(await start_upstream(slow), max_per_endpoint=1, queue_timeout=1.0)
    replies = await asyncio.gather(*(running.call("/v1/chat/completions", chat()) for _ in range(15)))
    assert {reply.status for reply in replies} == {200}
    crowd = [asyncio.create_task(running.call("/v1/chat/completions", chat())) for _ in range(60)]
    replies = await asyncio.gather(*crowd)
    refused = [reply for reply in replies if reply.status == 503]
    assert refused
    assert any("not be served in time" in reply.error["message"] for reply in refused)
    text = (await running.call("/metrics", key=None)).body.decode()
    assert 'slipway_shed_total{reason="late"}' in text


@pytest.mark.parametrize("isolation", ["off", "owner"])
async def test_caches_are_parted_by_owner_where_that_is_asked(
    start: Start, start_upstream: StartUpstream, isolation: str
) -> None:
    upstream = await start_upstream()
    running = await start(upstream, isolate_prefix_cache=isolation, key={"owner": "a"})
    running.state.key("b", "sk-b", owner="b")
    await running.until(lambda: len(running.gateway.catalog.snapshot.keyring.keys) == 2)
    for key in ("sk-test", "sk-test", "sk-b"):
        assert (await running.call("/v1/chat/completions", chat(), key=key)).status == 200
    salts = [each.json.get("cache_salt") for each in upstream.requests]
    if isolation == "off":
        assert salts == [None] * 3
    else:
        assert salts[0] == salts[1] != salts[2]


async def test_two_thousand_connections_are_all_answered(start: Start, start_upstream: StartUpstream) -> None:
    running = await start(
        await start_upstream(), await start_upstream(), max_queue=4000, max_queue_per_key=4000
    )
    replies = await asyncio.gather(*(running.call("/v1/chat/completions", chat()) for _ in range(2000)))
    assert {reply.status for reply in replies} == {200}
