"""Which services are measured, from whom, and when a measurement is worth a turn."""

import asyncio
from typing import Any

import pytest

from slipway.kube.kinds import ENDPOINT_SLICE, POD
from slipway_operator.measuring import Measuring, address_of
from slipway_operator.plans import Measured
from slipway_operator.signals import Scraper
from slipway_operator.worlds import World
from unit.operator.test_signals import engine, gateway
from unit.operator.written import NAMESPACE, SETTINGS, llm_service, parsed, pod

KEY = (NAMESPACE, "m")
SCALED = parsed(llm_service(autoscaling={"maxReplicas": 3}))
FIXED = parsed(llm_service())


class Answers(Scraper):
    """What is said at which address."""

    def __init__(self) -> None:
        super().__init__(1.0, lambda: "")
        self.said: dict[str, str] = {}

    async def read(self, addresses: Any, *, engines: bool = False) -> list[str]:
        return [self.said[each] for each in addresses if each in self.said]


def said(**numbers: float) -> str:
    return gateway(**numbers).replace('namespace="n"', f'namespace="{NAMESPACE}"')  # type: ignore[arg-type]


class Scene:
    """One gateway, and one engine of the service."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.readings = asyncio.Event()
        self.world = World()
        settings = SETTINGS.model_copy(update={"scrape_interval": 0.001})
        self.measuring = Measuring(settings, self.world, lambda: "", self.told.append)
        self.measuring.scraper = self.answers = Answers()
        endpoints = [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": True}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
        ]
        self.world.put(ENDPOINT_SLICE, {
            "metadata": {"name": "g", "namespace": "slipway-system", "uid": "g", "resourceVersion": "1"},
            "ports": [{"name": "http", "port": 8000}], "endpoints": endpoints,
        })  # fmt: skip
        self.world.put(POD, pod("p", "a"))
        self.world.put(POD, pod("starting", "a", ready=False, podIP="10.0.0.8"))
        self.answers.said = {"10.0.0.1:8000": said(), "10.0.0.9:8001": engine(2, 1)}

    async def read(self, times: int = 1) -> int:
        """Read so often; how often a turn was asked for."""
        before = len(self.told)
        for _ in range(times):
            await self.measuring._read()
        return len(self.told) - before


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_scaled_service_is_measured_at_gateways_and_ready_engines(scene: Scene) -> None:
    scene.measuring.watch(KEY, SCALED, under_way=False)
    scene.answers.said["10.0.0.1:8000"] = said(in_flight=4)
    await scene.read()
    found = scene.measuring.of(KEY)
    assert found.gateways is not None
    assert (found.gateways.in_flight, found.gateways.expected) == (4, 1)
    assert found.engines is not None
    assert (found.engines.in_flight, found.engines.expected) == (2, 1)
    assert (scene.measuring.expected, scene.measuring.answered) == (1, 1)


async def test_a_service_that_neither_scales_nor_changes_is_not_measured(scene: Scene) -> None:
    scene.measuring.watch(KEY, FIXED, under_way=True)
    await scene.read()
    assert scene.measuring.of(KEY).gateways is not None
    assert scene.measuring.of(KEY).engines is None
    scene.measuring.watch(KEY, FIXED, under_way=False)
    assert await scene.read() == 0
    assert scene.measuring.of(KEY) == Measured()


async def test_a_quiet_service_is_decided_on_less_often_than_a_busy_one(scene: Scene) -> None:
    scene.measuring.watch(KEY, SCALED, under_way=False)
    scene.answers.said["10.0.0.9:8001"] = engine(0, 0)
    await scene.read()
    assert await scene.read(20) == 4
    scene.answers.said["10.0.0.1:8000"] = said(ok=1)
    assert await scene.read() == 1  # A request came and went between two readings.
    scene.answers.said["10.0.0.1:8000"] = said(ok=1, waiting=1)
    assert await scene.read(20) == 20


async def test_a_rollout_is_told_of_each_reading(scene: Scene) -> None:
    scene.measuring.watch(KEY, FIXED, under_way=True)
    assert await scene.read(10) == 10


async def test_gateways_that_do_not_answer_are_counted(scene: Scene) -> None:
    scene.measuring.watch(KEY, SCALED, under_way=False)
    scene.answers.said.clear()
    await scene.read()
    assert (scene.measuring.expected, scene.measuring.answered) == (1, 0)
    assert scene.measuring.of(KEY).gateways is None


def test_addresses_of_both_families() -> None:
    assert [address_of(host, 1) for host in ("10.0.0.1", "fd00::1")] == ["10.0.0.1:1", "[fd00::1]:1"]
