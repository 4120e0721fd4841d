"""Engines are asked what they have, told what they lack, and rid of what is not wanted any more."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web

from slipway.kube.kinds import POD
from slipway_operator.adapters import Engines
from slipway_operator.loading import Loading
from slipway_operator.worlds import World
from unit.operator.written import NAMESPACE, SETTINGS, pod

KEY = (NAMESPACE, "m")
SOURCE = "registry+http://f-artifacts/f/v1"


class Engine:
    """The part of an engine that is about adapters."""

    def __init__(self) -> None:
        self.has: dict[str, str] = {"own": "/spec"}
        self.calls: list[str] = []
        self.answer: tuple[int, dict[str, Any]] | None = None

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/models", self.models),
            web.post("/v1/load_lora_adapter", self.load),
            web.post("/v1/unload_lora_adapter", self.unload),
        ]

    async def models(self, request: web.Request) -> web.Response:
        if request.headers.get("authorization") != "Bearer key":
            return web.json_response({}, status=401)
        cards = [{"id": name, "root": root, "parent": "m"} for name, root in self.has.items()]
        return web.json_response({"data": [{"id": "m", "parent": None}, *cards]})

    async def load(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.calls.append(f"load {asked['lora_name']}")
        if self.answer is not None:
            return web.json_response(self.answer[1], status=self.answer[0])
        self.has[asked["lora_name"]] = asked["lora_path"]
        return web.Response(text="Success")

    async def unload(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.calls.append(f"unload {asked['lora_name']}")
        self.has.pop(asked["lora_name"])
        return web.Response(text="Success")


class Scene:
    """One engine of the service, and who loads."""

    def __init__(self, engine: Engine, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine, self.told, self.acts = engine, asyncio.Event(), True
        monkeypatch.setattr("slipway_operator.loading.PORT", port)
        self.world = World()
        self.number = 0
        self.start()
        settings = SETTINGS.model_copy(update={"adapter_interval": 0.01})
        self.loading = Loading(
            settings, self.world, lambda: "key", lambda key: self.told.set(), lambda: self.acts
        )

    def start(self, ready: bool = True) -> None:
        """The engine's pod, anew."""
        self.number += 1
        item = pod("p", "a", ready=ready, podIP="127.0.0.1")
        item["metadata"] |= {"uid": f"p{self.number}", "resourceVersion": str(self.number)}
        self.world.put(POD, item)

    async def until(self, done: Callable[[Engines], bool]) -> Engines:
        while True:
            found = self.loading.of(KEY)
            if found is not None and done(found):
                return found
            self.told.clear()
            await asyncio.wait_for(self.told.wait(), 10)


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    engine = Engine()
    application = web.Application()
    application.add_routes(engine.routes())
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made = Scene(engine, runner.addresses[0][1], monkeypatch)
    running = asyncio.create_task(made.loading.run())
    yield made
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await runner.cleanup()


async def test_what_is_wanted_is_loaded_and_what_is_not_any_more_goes(scene: Scene) -> None:
    scene.loading.want(KEY, {"f.v1": SOURCE}, [], offered=True)
    await scene.until(lambda found: found.loaded.get("f.v1") == 1)
    assert scene.engine.has == {"own": "/spec", "f.v1": SOURCE}
    scene.loading.want(KEY, {}, ["f.v1"], offered=False)
    await scene.until(lambda found: "f.v1" not in found.loaded)
    assert scene.engine.has == {"own": "/spec"}, "what somebody else has loaded stays"


async def test_what_another_operator_had_loaded_goes_too(scene: Scene) -> None:
    scene.engine.has["f.v1"] = SOURCE
    scene.loading.want(KEY, {}, ["f.v1"], offered=False)
    await scene.until(lambda found: "f.v1" not in found.loaded)
    assert scene.engine.calls == ["unload f.v1"]


async def test_nothing_is_known_before_engines_were_asked(scene: Scene) -> None:
    assert scene.loading.of(KEY) is None
    scene.start(ready=False)
    assert scene.loading.of(KEY) == Engines(), "no engine is ready: nothing lacks anything"


async def test_an_engine_that_began_anew_is_another_one(scene: Scene) -> None:
    scene.loading.want(KEY, {"f.v1": SOURCE}, [], offered=True)
    await scene.until(lambda found: found.loaded.get("f.v1") == 1)
    scene.engine.has = {}
    scene.start()
    scene.loading.want(KEY, {"f.v1": SOURCE}, ["f.v1"], offered=True)
    await scene.until(lambda found: found.loaded.get("f.v1") == 1)
    assert scene.engine.calls == ["load f.v1", "load f.v1"]


@pytest.mark.parametrize(
    ("status", "refused"), [(500, True), (400, True), (422, True), (502, False), (503, False)]
)
async def test_a_refusal_is_told_in_the_engines_words(scene: Scene, status: int, refused: bool) -> None:
    scene.engine.answer = (status, {"error": {"message": "LoRA rank 64 is greater than 16"}})
    scene.loading.want(KEY, {"f.v1": SOURCE}, [], offered=True)
    found = await scene.until(lambda found: bool(found.refused or found.failing))
    said = {"f.v1": "LoRA rank 64 is greater than 16"}
    assert (found.refused, found.failing) == ((said, {}) if refused else ({}, said))


async def test_who_has_lost_the_lead_loads_nothing(scene: Scene) -> None:
    scene.acts = False
    scene.loading.want(KEY, {"f.v1": SOURCE}, [], offered=True)
    await scene.until(lambda found: found.ready == 1)
    assert scene.engine.calls == []
