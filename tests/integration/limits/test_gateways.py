"""Four gateway processes on one Redis."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from integration.gateway.clients import Reply, call, chat
from integration.gateway.conftest import StartUpstream
from integration.gateway.conftest import start_upstream as start_upstream  # A fixture.
from integration.gateway.processes import Process
from integration.gateway.states import State
from integration.gateway.upstreams import Exchange, behave
from integration.redis_server import Redis

N = 60


class Gateways:
    """Several gateway processes on one state folder."""

    def __init__(self, folder: Path) -> None:
        self.state = State(folder / "state")
        self.state.service("m")
        self.processes: list[Process] = []
        self.ports: list[int] = []

    async def start(self, redis: Redis, count: int = 4, **settings: object) -> None:
        self.processes = [
            Process(self.state.folder, limits_redis_url=redis.url, usage="false", **settings)
            for _ in range(count)
        ]
        self.ports = [await asyncio.to_thread(process.port) for process in self.processes]
        for process in self.processes:
            await self.told(process, "limits are shared")

    async def told(self, process: Process, words: str) -> None:
        async with asyncio.timeout(20):
            while not any(words in line["message"] for line in process.events("limits")):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def hammer(self, each: int, token: str = "sk-test") -> list[Reply]:
        asked = [
            call(port, "/v1/chat/completions", chat(), key=token) for _ in range(each) for port in self.ports
        ]
        return await asyncio.gather(*asked)


@pytest.fixture
async def gateways(tmp_path: Path) -> AsyncIterator[Gateways]:
    made = Gateways(tmp_path)
    yield made
    for process in made.processes:
        await asyncio.to_thread(process.kill)


async def test_a_limit_of_n_lets_n_through(
    gateways: Gateways, redis: Redis, start_upstream: StartUpstream
) -> None:
    upstream = await start_upstream()
    gateways.state.key(limits={"requestsPerMinute": N})
    gateways.state.endpoints(m=[upstream.address])
    await gateways.start(redis, limits_timeout=5)
    replies = await gateways.hammer(30)
    assert Counter(reply.status for reply in replies) == {200: N, 429: 120 - N}
    refused = next(reply for reply in replies if reply.status == 429)
    assert 0 < int(refused.headers["retry-after"]) <= 61


async def test_a_budget_of_one_request_lets_no_burst_through(
    gateways: Gateways, redis: Redis, start_upstream: StartUpstream
) -> None:
    """The price of what a request may use is reserved before it is made."""
    upstream = await start_upstream()
    gateways.state.write(
        "objects/llmservice-m.yaml",
        json.dumps(
            {
                "apiVersion": "slipway.dev/v1alpha1",
                "kind": "LLMService",
                "metadata": {"name": "m"},
                "spec": {
                    "model": {"source": "hf://org/model", "name": "m"},
                    "pricing": {"inputPerMillion": "1000", "outputPerMillion": "1000"},
                },
            }
        ),
    )
    gateways.state.key(limits={"budgetUSD": {"day": "0.02"}})
    gateways.state.endpoints(m=[upstream.address])
    await gateways.start(redis, limits_timeout=5)
    asked = [
        call(port, "/v1/chat/completions", chat(max_tokens=10)) for _ in range(10) for port in gateways.ports
    ]
    replies = await asyncio.gather(*asked)
    told = next(reply for reply in replies if reply.status == 429)
    assert (told.error["code"], told.error["type"]) == ("budget_exceeded", "insufficient_quota")
    # Each answer costs 9 tokens of $0.001: two fit at most, however many ask at once.
    assert 1 <= sum(reply.status == 200 for reply in replies) <= 2
    assert len(upstream.requests) <= 2


async def test_a_killed_gateways_places_come_back(
    gateways: Gateways, redis: Redis, start_upstream: StartUpstream
) -> None:
    held = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.request.json["messages"][0]["content"] == "hold":
            held.set()
            await exchange.closed_by_peer()
            return
        await behave(exchange)

    upstream = await start_upstream(script)
    gateways.state.key(limits={"maxParallel": 1, "requestsPerMinute": 1000})
    gateways.state.endpoints(m=[upstream.address])
    await gateways.start(redis, count=2, limits_timeout=5, limits_lease=0.5)
    holding = asyncio.create_task(call(gateways.ports[0], "/v1/chat/completions", chat("hold")))
    await held.wait()
    assert (await call(gateways.ports[1], "/v1/chat/completions", chat())).status == 429
    gateways.processes[0].send(signal.SIGKILL)
    await asyncio.gather(holding, return_exceptions=True)
    async with asyncio.timeout(20):
        while True:
            if (await call(gateways.ports[1], "/v1/chat/completions", chat())).status == 200:
                break
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("mode", ["fail-open", "fail-closed"])
async def test_redis_lost_and_found(
    gateways: Gateways, redis: Redis, start_upstream: StartUpstream, mode: str
) -> None:
    upstream = await start_upstream()
    gateways.state.key(limits={"requestsPerMinute": 5})
    gateways.state.endpoints(m=[upstream.address])
    await gateways.start(redis, count=2, limits_timeout=0.2, limits_on_failure=mode)
    assert {reply.status for reply in await gateways.hammer(1)} == {200}
    redis.kill()
    for process in gateways.processes:
        await gateways.told(process, "does not answer")
    replies = await gateways.hammer(10)
    statuses = Counter(reply.status for reply in replies)
    if mode == "fail-open":
        assert statuses == {200: 10, 429: 10}  # Five a gateway.
    else:
        assert statuses == {503: 20}
        assert replies[0].error["code"] == "limits_unavailable"
    metrics = (await call(gateways.ports[0], "/metrics", key=None)).body.decode()
    assert "slipway_limits_store_up 0.0" in metrics
    assert "slipway_limits_fallback_total{" in metrics
    redis.start()
    async with asyncio.timeout(20):
        while "slipway_limits_store_up 0.0" in metrics:
            metrics = (await call(gateways.ports[0], "/metrics", key=None)).body.decode()
    for process in gateways.processes:
        async with asyncio.timeout(20):
            while len([line for line in process.events("limits") if "shared" in line["message"]]) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    replies = await gateways.hammer(10)
    assert Counter(reply.status for reply in replies) == {200: 5, 429: 15}
