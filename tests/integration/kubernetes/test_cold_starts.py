"""Requests that wait for the first engine of a service that scales from zero, or comes back."""

import asyncio

import pytest

from integration.gateway.clients import Reply, chat, connect, request
from integration.gateway.conftest import Running, StartUpstream
from integration.kubernetes.conftest import StartGateway
from integration.kubernetes.test_revisions import numbers
from integration.kubernetes.world import World
from slipway.kube.kinds import LLM_SERVICE

CHAT = "/v1/chat/completions"
FROM_ZERO = {"minReplicas": 0, "maxReplicas": 2}


def ask(running: Running, count: int = 1) -> list["asyncio.Task[Reply]"]:
    return [asyncio.create_task(running.call(CHAT, chat(str(number)))) for number in range(count)]


async def waiting(running: Running, count: int) -> None:
    await running.until(lambda: running.gateway.relay.waiting == count)


async def test_requests_wait_for_the_first_engine_and_are_counted(
    world: World, start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    world.key()
    world.service(autoscaling=FROM_ZERO)
    running = await start_gateway(queue_timeout=0.001)
    asked = ask(running, 5)
    await waiting(running, 5)
    assert await numbers(running, "slipway_service_requests_waiting") == {"": 5}
    assert await numbers(running, "slipway_service_requests_in_flight") == {"": 0}
    engine = await start_upstream()
    world.engines(engine, ready=False)  # It starts.
    await running.until(lambda: running.gateway.catalog.snapshot.models["m"].endpoints == 1)
    assert running.gateway.relay.waiting == 5
    world.engines(engine)
    assert [(await reply).status for reply in asked] == [200] * 5
    assert await numbers(running, "slipway_service_requests_waiting") == {"": 0}


async def test_an_engine_that_does_not_come_up_in_time_is_said_with_when_to_try_again(
    world: World, start_gateway: StartGateway
) -> None:
    world.key()
    world.service(autoscaling=FROM_ZERO)
    running = await start_gateway(cold_start_timeout=0.05, queue_timeout=0.01)
    reply = await running.call(CHAT, chat())
    assert (reply.status, reply.error["code"]) == (503, "model_not_ready")
    assert int(reply.headers["retry-after"]) >= 1
    assert running.gateway.relay.waiting == 0


async def test_a_client_that_leaves_waits_no_more(world: World, start_gateway: StartGateway) -> None:
    world.key()
    world.service(autoscaling=FROM_ZERO)
    running = await start_gateway()
    async with connect(running.port) as connection:
        await connection.send(request(CHAT, chat()))
        await waiting(running, 1)
    await waiting(running, 0)


async def test_those_who_wait_for_a_service_that_is_deleted_are_told_at_once(
    world: World, start_gateway: StartGateway
) -> None:
    world.key()
    world.service(autoscaling=FROM_ZERO)
    running = await start_gateway()
    (asked,) = ask(running)
    await waiting(running, 1)
    world.remove(LLM_SERVICE, "m")
    assert (await asked).status == 503


@pytest.mark.parametrize(
    ("spec", "conditions", "waits"),
    [
        ({"rollout": {"strategy": "Recreate"}}, [], True),
        ({"rollout": {"strategy": "Recreate"}, "replicas": 0}, [], False),
        ({"rollout": {"strategy": "Recreate"}}, [("Degraded", "True")], False),
        ({"autoscaling": FROM_ZERO}, [("Degraded", "True")], True),
        ({}, [("Progressing", "True")], True),
        ({}, [("Progressing", "True"), ("Degraded", "True")], False),
        ({}, [("Progressing", "False")], False),
        ({"replicas": 0}, [], False),
        ({}, [], False),
    ],
)
async def test_only_what_may_come_up_is_waited_for(
    world: World,
    start_gateway: StartGateway,
    spec: dict[str, object],
    conditions: list[tuple[str, str]],
    waits: bool,
) -> None:
    world.key()
    world.server.put(
        LLM_SERVICE,
        "models",
        "m",
        spec={"model": {"source": "hf://org/model"}, **spec},
        status={"conditions": [{"type": kind, "status": value, "reason": "R"} for kind, value in conditions]},
    )
    running = await start_gateway()
    (asked,) = ask(running)
    if waits:
        await waiting(running, 1)
        world.remove(LLM_SERVICE, "m")
    reply = await asked
    assert (reply.status, reply.error["code"]) == (503, "model_not_ready")


async def test_who_waits_is_served_in_fair_turns_over_keys(
    world: World, start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    world.key()
    world.key("other", "sk-other")
    world.service(autoscaling=FROM_ZERO)
    running = await start_gateway(max_per_endpoint=1)
    many = ask(running, 6)
    await waiting(running, 6)
    one = asyncio.create_task(running.call(CHAT, chat("other"), key="sk-other"))
    await waiting(running, 7)
    engine = await start_upstream()
    world.engines(engine)
    assert {(await reply).status for reply in [*many, one]} == {200}
    order = [received.json["messages"][0]["content"] for received in engine.requests]
    assert order.index("other") <= 2
