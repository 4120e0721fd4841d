"""Requests shared out over revisions by weight, sessions that stay on one, and what is told of each."""

import asyncio
import re
from typing import Any

from integration.gateway.clients import chat
from integration.gateway.conftest import Running, StartUpstream
from integration.gateway.upstreams import Exchange, behave
from integration.kubernetes.conftest import StartGateway
from integration.kubernetes.world import World
from slipway.kube.kinds import LLM_SERVICE

CHAT = "/v1/chat/completions"


async def broken(exchange: Exchange) -> None:
    await exchange.answer({"error": "out of memory"}, 500)


async def numbers(running: Running, name: str) -> dict[str, float]:
    """A metric of the service m by its revision and outcome."""
    text = (await running.call("/metrics", method="GET")).body.decode()
    found: dict[str, float] = {}
    for labels, value in re.findall(rf"^{name}\{{(.*)\}} (\S+)$", text, re.MULTILINE):
        each = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        assert (each.pop("service"), each.pop("namespace")) == ("m", "models")
        found[" ".join(each[label] for label in sorted(each))] = float(value)
    return found


async def served(running: Running, times: int, **fields: Any) -> None:
    for _ in range(times):
        assert (await running.call(CHAT, chat(**fields))).status == 200


async def test_requests_are_split_by_weight(
    world: World, start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    stable, canary = await start_upstream(), await start_upstream()
    world.key()
    world.service(traffic={"old": 80, "new": 20})
    world.engines(stable, revision="old")
    world.engines(canary, revision="new")
    running = await start_gateway()
    await served(running, 200)
    # Of 200 draws 40 are expected; fewer than 10 or more than 80 happen once in a billion times.
    assert 10 <= len(canary.requests) <= 80
    assert len(stable.requests) + len(canary.requests) == 200


async def test_a_session_stays_on_its_revision(
    world: World, start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    stable, canary = await start_upstream(), await start_upstream()
    world.key()
    world.service(traffic={"old": 50, "new": 50})
    world.engines(stable, revision="old")
    world.engines(canary, revision="new")
    running = await start_gateway()
    sides = set()
    for session in "abcdefgh":
        before = len(stable.requests), len(canary.requests)
        await served(running, 4, user=session)
        more = len(stable.requests) - before[0], len(canary.requests) - before[1]
        assert sorted(more) == [0, 4], session
        sides.add(more)
    assert len(sides) == 2, "each revision has sessions"


async def test_a_revision_without_weight_serves_only_while_no_other_can(
    world: World, start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    blue, green = await start_upstream(), await start_upstream()
    world.key()
    world.service(traffic={"blue": 100, "green": 0})
    world.engines(blue, revision="blue")
    world.engines(green, revision="green")
    running = await start_gateway()
    await served(running, 10)
    assert (len(blue.requests), len(green.requests)) == (10, 0)
    world.engines(blue, revision="blue", ready=False)
    models = running.gateway.catalog
    await running.until(lambda: models.snapshot.models["m"].ready == (green.address,))
    await served(running, 1)
    assert len(green.requests) == 1


async def test_a_share_whose_revision_has_no_endpoint_goes_to_the_others(
    world: World, start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    stable = await start_upstream()
    world.key()
    world.service(traffic={"old": 1, "new": 99})
    world.engines(stable, revision="old")
    world.engines("127.0.0.1:1", revision="new", ready=False)
    running = await start_gateway()
    await served(running, 20)
    assert len(stable.requests) == 20


async def test_a_revision_that_fails_costs_no_request_and_is_told_of(
    world: World, start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    stable = await start_upstream()
    world.key()
    world.service(traffic={"old": 50, "new": 50})
    world.engines(stable, revision="old")
    world.engines("127.0.0.1:1", revision="new")  # Nothing listens there.
    running = await start_gateway(retry_share=1)
    await served(running, 30)
    found = await numbers(running, "slipway_revision_requests_total")
    assert found["ok old"] == 30
    assert found["error new"] > 0
    assert found["ok new"] == 0


async def test_errors_and_times_are_told_by_revision(
    world: World, start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    stable, canary = await start_upstream(), await start_upstream(broken)
    world.key()
    world.service(traffic={"old": 50, "new": 50})
    world.engines(stable, revision="old")
    world.engines(canary, revision="new")
    running = await start_gateway()
    replies = [(await running.call(CHAT, chat())).status for _ in range(40)]
    found = await numbers(running, "slipway_revision_requests_total")
    assert found["error new"] == len([status for status in replies if status >= 500]) > 0
    assert found["ok old"] == replies.count(200)
    assert found["ok new"] == found["error old"] == 0
    assert (await numbers(running, "slipway_revision_first_byte_seconds_count"))["old"] == replies.count(200)


async def test_an_answer_that_is_cut_is_the_engines_error(
    world: World, start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    async def cut(exchange: Exchange) -> None:
        await exchange.begin_stream()
        await exchange.event({"choices": [{"index": 0, "delta": {"content": "a"}}]})
        exchange.abort()

    world.key()
    world.service(traffic={"only": 100})
    world.engines(await start_upstream(cut), revision="only")
    running = await start_gateway()
    await running.call(CHAT, chat(stream=True))
    assert await numbers(running, "slipway_revision_requests_total") == {"error only": 1, "ok only": 0}


async def test_the_numbers_of_a_revision_that_is_gone_are_told_no_more(
    world: World, start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    engine = await start_upstream()
    world.key()
    world.service(traffic={"old": 100})
    world.engines(engine, revision="old")
    running = await start_gateway()
    await served(running, 3)
    world.engines(revision="old")  # Its pods are away for a moment: it is still to have the requests.
    await running.until(lambda: not running.gateway.catalog.snapshot.models["m"].ready)
    assert (await numbers(running, "slipway_revision_requests_total"))["ok old"] == 3
    world.service(traffic={"new": 100})
    world.engines(engine, revision="new")
    await running.until(lambda: "old" not in running.gateway.catalog.snapshot.models["m"].revisions)
    await running.until(lambda: bool(running.gateway.catalog.snapshot.models["m"].ready))
    assert set(await numbers(running, "slipway_revision_requests_total")) == {"ok new", "error new"}
    world.remove(LLM_SERVICE, "m")
    await running.until(lambda: not running.gateway.catalog.snapshot.models)
    assert await numbers(running, "slipway_revision_requests_total") == {}


async def test_requests_at_engines_are_told_by_service(
    world: World, start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    told = asyncio.Event()

    async def hold(exchange: Exchange) -> None:
        await told.wait()
        await behave(exchange)

    engine, other = await start_upstream(hold), await start_upstream(hold)
    world.key()
    world.service()
    world.engines(engine, other)
    running = await start_gateway(max_per_endpoint=1)
    asked = [asyncio.create_task(running.call(CHAT, chat())) for _ in range(3)]
    await running.until(lambda: running.gateway.relay.waiting == 1)
    assert await numbers(running, "slipway_service_requests_in_flight") == {"": 2}
    assert await numbers(running, "slipway_service_requests_waiting") == {"": 1}
    world.engines(engine)  # The other one ends; what it still does counts.
    world.engines(other, name="ending", terminating=True)
    await running.until(lambda: running.gateway.catalog.snapshot.models["m"].others == (other.address,))
    assert await numbers(running, "slipway_service_requests_in_flight") == {"": 2}
    told.set()
    assert [(await reply).status for reply in asked] == [200, 200, 200]
    assert await numbers(running, "slipway_service_requests_in_flight") == {"": 0}
