"""A gateway that serves what a cluster's objects say, also while the API server is away."""

import asyncio
import re
from typing import Any

from integration.gateway.clients import chat
from integration.gateway.conftest import Running, StartUpstream
from integration.kube.apiserver import APIServer
from integration.kubernetes.conftest import StartGateway
from integration.kubernetes.world import World
from slipway.gateway.catalog import Model
from slipway.kube.kinds import API_KEY, LLM_SERVICE, MODEL_ROUTE, OWNER

CHAT = "/v1/chat/completions"


def model(running: Running, name: str = "m") -> Model | None:
    return running.gateway.catalog.snapshot.models.get(name)


def ready(running: Running, name: str = "m") -> tuple[str, ...]:
    found = model(running, name)
    return found.ready if found is not None else ()


async def test_objects_are_served_and_changes_taken_up(
    world: World, start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    engine, second = await start_upstream(), await start_upstream()
    world.key()
    world.service()
    world.engines(engine)
    running = await start_gateway()
    assert (await running.call(CHAT, chat())).status == 200
    assert running.gateway.catalog.snapshot.revisions == {engine.address: "r1"}
    world.engines(second)
    await running.until(lambda: ready(running) == (second.address,))
    assert (await running.call(CHAT, chat())).status == 200
    assert len(second.requests) == 1
    world.remove(API_KEY, "local")
    await running.until(lambda: not running.gateway.catalog.snapshot.keyring.keys)
    assert (await running.call(CHAT, chat())).status == 401
    assert {method for method, _, _ in world.server.requests} == {"GET"}


async def test_owners_and_routes_are_taken_up(
    world: World, start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    world.key()
    world.service()
    world.engines(await start_upstream())
    world.server.put(MODEL_ROUTE, "models", "best", spec={"targets": [{"model": "m"}]})
    world.server.put(OWNER, "models", "default", spec={"limits": {"maxParallel": 7}})
    running = await start_gateway()
    assert (await running.call(CHAT, chat(model="best"))).headers["x-slipway-model"] == "m"
    assert running.gateway.catalog.snapshot.owners["default"].spec.limits.max_parallel == 7


async def test_endpoints_that_are_not_ready_or_terminate_get_nothing(
    world: World, start_gateway: StartGateway
) -> None:
    world.service()
    world.engines("10.0.0.1:1", name="a-", ready=False)
    world.engines("10.0.0.2:1", name="b-", ready=True, serving=True, terminating=True)
    world.engines("10.0.0.3:1", name="c-", ready=True)
    world.engines(
        "10.0.0.3:1", name="d-", revision=None
    )  # Also in the slice of a Service over all revisions.
    running = await start_gateway()
    found = model(running)
    assert found is not None
    assert (found.ready, found.others) == (("10.0.0.3:1",), ("10.0.0.1:1", "10.0.0.2:1"))
    assert running.gateway.catalog.snapshot.revisions["10.0.0.3:1"] == "r1"


async def test_only_the_namespace_that_is_named_is_served(world: World, start_gateway: StartGateway) -> None:
    world.service("here", "models")
    world.service("there", "others")
    running = await start_gateway(kubernetes_namespace="models")
    assert set(running.gateway.catalog.snapshot.models) == {"here"}
    assert all("/namespaces/models/" in path for _, path, _ in world.server.requests)


async def test_of_two_services_with_one_name_the_first_by_namespace_has_it_and_the_other_is_told(
    world: World, start_gateway: StartGateway
) -> None:
    world.service("a", "b-space", served="llama")
    world.service("z", "a-space", served="llama")
    running = await start_gateway()
    found = model(running, "llama")
    assert found is not None
    assert (found.namespace, found.service) == ("a-space", "z")
    told = [line["message"] for line in running.log if line["event"] == "object"]
    assert told == [
        "LLMService b-space/a: the name 'llama' is that of a-space/z, which has it; give it another"
    ]
    world.remove(LLM_SERVICE, "z", "a-space")
    await running.until(lambda: getattr(model(running, "llama"), "namespace", "") == "b-space")


async def test_keys_of_one_name_in_two_namespaces_both_work_and_count_apart(
    world: World, start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    world.key("ci", "sk-one", "a-space", limits={"requestsPerMinute": 1})
    world.key("ci", "sk-two", "b-space", role="admin")
    world.service()
    world.engines(await start_upstream())
    running = await start_gateway()
    for token, status in (("sk-one", 200), ("sk-one", 429), ("sk-two", 200), ("sk-two", 200)):
        assert (await running.call(CHAT, chat(), key=token)).status == status
    listed = (await running.call("/v1/keys", key="sk-two")).json
    assert [key["name"] for key in listed["data"]] == ["a-space.ci", "b-space.ci"]
    assert (await running.call("/v1/keys/a-space.ci", key="sk-two")).status == 200
    requests = [line for line in running.log if line.get("route") == CHAT]
    assert {line["key"] for line in requests} == {"a-space.ci", "b-space.ci"}
    assert not [line for line in running.log if line["event"] == "object"]


async def test_of_two_owners_with_one_name_the_first_counts_and_the_other_is_told(
    world: World, start_gateway: StartGateway
) -> None:
    for namespace, most in (("b-space", 2), ("a-space", 1)):
        world.server.put(OWNER, namespace, "team", spec={"name": "search", "limits": {"maxParallel": most}})
    running = await start_gateway()
    assert running.gateway.catalog.snapshot.owners["search"].spec.limits.max_parallel == 1
    told = [line["message"] for line in running.log if line["event"] == "object"]
    assert told == [
        "Owner b-space/team: the name 'search' is that of a-space/team, which has it; give it another"
    ]


async def test_an_object_that_cannot_be_read_keeps_its_last_good_content(
    world: World, start_gateway: StartGateway
) -> None:
    world.service()
    running = await start_gateway()
    good = model(running)
    world.server.put(LLM_SERVICE, "models", "m", spec={"model": {"source": 7}})
    await running.until(lambda: any(line["event"] == "object" for line in running.log))
    world.server.put(LLM_SERVICE, "models", "m", spec={"model": {"source": 7}}, status={})
    world.service("later")
    await running.until(lambda: model(running, "later") is not None)
    assert model(running) == good
    (told,) = [line for line in running.log if line["event"] == "object"]
    assert told["object"] == "LLMService models/m"
    assert "spec.model.source" in told["message"]


async def test_while_the_api_server_is_away_what_was_known_stays_in_force(
    server: APIServer, world: World, start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    engine = await start_upstream()
    world.key()
    world.service()
    world.service("gone")
    world.engines(engine)
    running = await start_gateway()
    await running.until(lambda: server.watching == 5)
    assert await stale(running) == 0
    await server.stop()
    await running.until(lambda: running.gateway.source.stale > 0)
    for _ in range(5):
        assert (await running.call(CHAT, chat())).status == 200
    assert await stale(running) > 0
    assert any("stays in force" in line["message"] for line in running.log if line["event"] == "kubernetes")
    world.remove(LLM_SERVICE, "gone")
    world.service("new")
    server.compact()
    await server.start()
    await running.until(lambda: model(running, "new") is not None and model(running, "gone") is None)
    await running.until(lambda: running.gateway.source.stale == 0)
    assert await stale(running) == 0
    back = [line["message"] for line in running.log if line["event"] == "kubernetes"]
    assert "llmservices: followed again" in back


async def test_a_gateway_that_starts_without_the_api_server_waits_for_it(
    server: APIServer, world: World, start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    world.key()
    world.service()
    world.engines(await start_upstream())
    await server.stop()
    starting = asyncio.create_task(start_gateway())
    done, _ = await asyncio.wait([starting], timeout=0.1)
    assert not done
    await server.start()
    running = await starting
    assert (await running.call(CHAT, chat())).status == 200


async def stale(running: Running) -> float:
    text = (await running.call("/metrics", method="GET")).body.decode()
    found = re.search(r"^slipway_catalog_stale_seconds (\S+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


async def test_what_is_the_matter_is_told_to_admins_and_to_nobody_else(
    world: World, start_gateway: StartGateway, start_upstream: StartUpstream
) -> None:
    said = "registry.example.com/private:1 cannot be pulled on node-7."
    world.key()
    world.key("boss", "sk-boss", role="admin")
    world.service(status=failed(said))
    world.engines("10.0.0.1:1", ready=False)
    running = await start_gateway()
    cause = f"ImageCannotBePulled: {said} `slipway explain m -n models` says more."
    (told,) = (await running.call("/v1/models", key="sk-boss")).json["data"]
    assert (told["state"], told["reason"], told["status"]["replicas"]) == ("Failed", cause, 2)
    refused = await running.call(CHAT, chat(), key="sk-boss")
    assert (refused.status, refused.error["message"]) == (503, f"The model `m` is not ready: {cause}")
    general = "its engine has failed. Those who run it can see why."
    refused = await running.call(CHAT, chat())
    assert (refused.status, refused.error["message"]) == (503, f"The model `m` is not ready: {general}")
    answers = [refused, *[await running.call(path) for path in ("/v1/models", "/v1/models/m", "/readyz")]]
    for answer in answers:
        assert general in answer.body.decode()
        assert not [word for word in ("registry", "node-7", "ImageCannot") if word in answer.body.decode()]
    world.service(status={"readyReplicas": 1})
    world.engines(await start_upstream())
    await running.until(lambda: bool(ready(running)))
    (told,) = (await running.call("/v1/models", key="sk-boss")).json["data"]
    assert (told["state"], told["reason"], told["ready"]) == ("Progressing", None, True)


async def test_a_rollout_is_shown_with_the_weights_of_its_revisions(
    world: World, start_gateway: StartGateway
) -> None:
    world.key(role="admin")
    world.service(
        traffic={"r1": 90, "r2": 10},
        status={"stableRevision": "r1", "canaryRevision": "r2", "rollout": {"phase": "Progressing"}},
    )
    world.engines("10.0.0.1:1", "10.0.0.2:1")
    world.engines("10.0.0.3:1", revision="r2")
    running = await start_gateway()
    status = (await running.call("/v1/models/m")).json["status"]
    assert status["phase"] == "Progressing"
    assert status["revisions"] == [
        {"revision": "r1", "role": "stable", "weight": 90, "ready": 2},
        {"revision": "r2", "role": "canary", "weight": 10, "ready": 1},
    ]


def failed(message: str) -> dict[str, Any]:
    """The status of a service whose image cannot be pulled."""
    wrong = {"reason": "ImageCannotBePulled", "message": message}
    return {
        "desiredReplicas": 2,
        "conditions": [
            {"type": "Ready", "status": "False", **wrong},
            {"type": "Degraded", "status": "True", **wrong},
        ],
    }
