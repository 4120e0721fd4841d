"""Fine-tuning jobs where FineTunes are objects of a cluster: a real gateway over a scripted API server."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from openai import AsyncOpenAI

from integration.gateway.conftest import Running
from integration.gateway.test_fine_tuning import GOOD, example, file_of, now, reached
from integration.kube.apiserver import APIServer
from integration.kubernetes.conftest import StartGateway
from integration.kubernetes.world import World
from slipway.kube.kinds import FINE_TUNE
from slipway.objects import FineTune

NAMESPACE = "models"
LORA = {"args": ["--enable-lora"]}
OFFERED = {"fine_tuning_namespace": NAMESPACE, "fine_tuning_address": "http://gateway.example:8000/"}


@pytest.fixture
async def clients() -> AsyncIterator[Any]:
    opened: list[AsyncOpenAI] = []

    def make(running: Running) -> AsyncOpenAI:
        opened.append(AsyncOpenAI(base_url=f"http://127.0.0.1:{running.port}/v1", api_key="sk-test"))
        return opened[-1]

    yield make
    for each in opened:
        await each.close()


async def created(running: Running, client: AsyncOpenAI) -> str:
    await running.until(lambda: running.gateway.database.migrated)
    await running.until(lambda: "m" in running.gateway.catalog.snapshot.models)
    made = await client.fine_tuning.jobs.create(model="m", training_file=await file_of(client))
    await reached(client, made.id, "queued")
    return made.id


def tell(server: APIServer, job: str, phase: str, **status: Any) -> None:
    there = server.items(FINE_TUNE)[NAMESPACE, job]
    server.put(FINE_TUNE, NAMESPACE, job, spec=there["spec"], status={"phase": phase, **status})


async def begun(start_gateway: StartGateway, world: World, clients: Any) -> tuple[Any, Any, str]:
    """A gateway that offers fine-tuning, a client of it, and a job that was made."""
    world.service(engine=LORA)
    world.key()
    running = await start_gateway(**OFFERED)
    own = clients(running)
    job = await created(running, own)
    return running, own, job


async def test_a_job_is_a_fine_tune_whose_first_job_reads_the_examples_at_a_signed_address(
    start_gateway: StartGateway, world: World, server: APIServer, clients: Any
) -> None:
    running, own, job = await begun(start_gateway, world, clients)

    item = server.items(FINE_TUNE)[NAMESPACE, job]
    made = FineTune.model_validate({key: item[key] for key in ("apiVersion", "kind", "metadata", "spec")})
    assert made.spec.deploy is not None
    assert made.spec.deploy.service == "m"
    address = urlsplit(made.spec.dataset.sources[0].source)
    assert address.netloc == "gateway.example:8000"
    read = await running.call(f"{address.path}?{address.query}", key=None)
    assert [json.loads(line) for line in read.body.splitlines()] == [example(at) for at in range(12)]
    assert read.body.count(b"\n") == GOOD.count(b"\n")

    tell(server, job, "Training", startedAt=now())
    await reached(own, job, "running")
    await own.fine_tuning.jobs.pause(job)
    await running.until(lambda: bool(server.items(FINE_TUNE)[NAMESPACE, job]["spec"].get("suspend")))
    await own.fine_tuning.jobs.resume(job)
    await running.until(lambda: not server.items(FINE_TUNE)[NAMESPACE, job]["spec"]["suspend"])
    stages = [
        {
            "name": "prepare",
            "state": "Succeeded",
            "startedAt": now(),
            "completedAt": now(),
            "message": "12 rows",
        }
    ]
    world.service(
        engine=LORA,
        status={
            "adapters": [
                {
                    **{"name": made.spec.deploy.name, "engineName": "tuned.v1", "weight": 100},
                    **{"state": "Ready", "source": "s3://bucket/tuned/v1", "fineTune": job},
                }
            ]
        },
    )
    tell(server, job, "Succeeded", startedAt=now(), completedAt=now(), stages=stages)
    done = await reached(own, job, "succeeded")
    assert done.fine_tuned_model == made.spec.deploy.name
    events = [event.message async for event in own.fine_tuning.jobs.list_events(job)]
    assert "12 rows" in events
    assert done.fine_tuned_model in [model.id async for model in own.models.list()]


async def test_an_api_server_that_is_away_is_waited_for(
    start_gateway: StartGateway, world: World, server: APIServer, clients: Any
) -> None:
    running, own, job = await begun(start_gateway, world, clients)
    await server.stop()
    await own.fine_tuning.jobs.cancel(job)
    await server.start()
    await running.until(lambda: bool(server.items(FINE_TUNE)[NAMESPACE, job]["spec"].get("cancel")))


async def test_a_fine_tune_that_somebody_removed_fails_its_job(
    start_gateway: StartGateway, world: World, server: APIServer, clients: Any
) -> None:
    _, own, job = await begun(start_gateway, world, clients)
    server.remove(FINE_TUNE, NAMESPACE, job)
    failed = await reached(own, job, "failed")
    assert failed.error is not None
    assert failed.error.code == "fine_tune_gone"


@pytest.mark.parametrize(
    "settings", [{}, {**OFFERED, "fine_tuning_namespace": "others"}], ids=["off", "others"]
)
async def test_without_a_grant_for_its_namespace_no_model_is_tuned(
    start_gateway: StartGateway, world: World, clients: Any, settings: dict[str, str]
) -> None:
    world.service(engine=LORA)
    world.key()
    running = await start_gateway(**settings)
    own = clients(running)
    await running.until(lambda: running.gateway.database.migrated)
    await running.until(lambda: "m" in running.gateway.catalog.snapshot.models)
    file = await file_of(own)
    with pytest.raises(openai.BadRequestError) as refused:
        await own.fine_tuning.jobs.create(model="m", training_file=file)
    assert refused.value.code == "not_offered"
