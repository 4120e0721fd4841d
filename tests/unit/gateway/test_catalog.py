"""The state folder: what changes is taken up, what cannot be read keeps its last good content."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.gateway.states import State
from slipway.gateway.catalog import Catalog, Endpoint, Snapshot, models_of
from slipway.gateway.statefolder import StateFolder, read_endpoints
from slipway.objects import LLMService


class World:
    """A state folder and a source over it."""

    def __init__(self, folder: Path) -> None:
        self.state = State(folder)
        self.said: list[tuple[str, str]] = []
        self.source = StateFolder(folder, 0.01, lambda file, problem: self.said.append((file, problem)))

    def look(self) -> Snapshot:
        snapshot = self.source.poll()
        assert snapshot is not None, "nothing has changed"
        return snapshot


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state")


def test_names_lead_to_ready_endpoints(world: World) -> None:
    world.state.service("smol", served="org/smol", adapters=["sql"])
    world.state.service("minilm", task="embed")
    world.state.endpoints(smol=["127.0.0.1:1", "!127.0.0.1:2"])
    models = world.look().models
    assert set(models) == {"org/smol", "sql", "minilm"}
    assert models["sql"].ready == models["org/smol"].ready == ("127.0.0.1:1",)
    assert models["sql"].parent == "org/smol"
    assert models["minilm"].why_not_ready is not None


def test_nothing_new_is_nothing(world: World) -> None:
    assert world.look().loaded
    assert world.source.poll() is None
    world.state.key()
    assert len(world.look().keyring.keys) == 1
    world.state.remove("objects/apikey-local.yaml")
    assert not world.look().keyring.keys


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "a: [",
        "just text",
        "kind: APIKey",
        "\0",
        "apiVersion: slipway.dev/v1alpha1\nkind: LLMService\n",
    ],
)
def test_a_broken_object_keeps_its_last_good_content(world: World, text: str) -> None:
    world.state.service("smol")
    world.state.key()
    good = world.look()
    world.state.write("objects/llmservice-smol.yaml", text)
    world.state.write("objects/apikey-local.yaml", text)
    after = world.look()
    assert after.models == good.models
    assert set(after.keyring.keys) == set(good.keyring.keys)
    assert {file for file, _ in world.said} == {"llmservice-smol.yaml", "apikey-local.yaml"}
    said = len(world.said)
    assert world.source.poll() is None
    assert len(world.said) == said


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"m": {}}', '{"m": [{}]}', '{"m": [{"address": "x"}]}', '{"m": [{"address": "a:0"}]}'],
)
def test_broken_endpoints_keep_the_last_good_ones(world: World, text: str) -> None:
    world.state.service("m")
    world.state.endpoints(m=["127.0.0.1:1"])
    world.look()
    world.state.write("endpoints.json", text)
    assert world.look().models["m"].ready == ("127.0.0.1:1",)
    assert [file for file, _ in world.said] == ["endpoints.json"]


def test_without_endpoints_nothing_is_ready(world: World) -> None:
    world.state.service("m")
    world.state.endpoints(m=["127.0.0.1:1"])
    world.look()
    world.state.remove("endpoints.json")
    assert world.look().models["m"].ready == ()


def test_what_the_supervisor_says_of_a_service_is_shown(world: World) -> None:
    world.state.service("m")
    world.state.status(m=("Progressing", "Starting", "0 of 1 replicas are ready"))
    found = world.look().models["m"].status
    assert found is not None
    assert (found.state, found.reason) == ("Progressing", "Starting")
    world.state.status(m=("Failed", "StartFailed", "m-0: no such model"))
    assert world.look().models["m"].cause == "StartFailed: m-0: no such model. `slipway explain m` says more."
    world.state.write("status.json", '{"services": 7}')
    assert world.source.poll() is None
    assert [file for file, _ in world.said] == ["status.json"]
    world.state.remove("status.json")
    assert world.look().models["m"].status is None


def test_progress_that_nobody_is_shown_makes_no_new_snapshot(world: World) -> None:
    world.state.service("m")
    said = ("Progressing", "Starting", "0 of 1 replicas are ready")
    world.state.status(m=said)
    world.look()
    world.state.status(m=said, progress="40 % of 1 GB")
    assert world.source.poll() is None
    world.state.key()
    assert world.look().models["m"].status is not None


def test_a_missing_folder_is_said_once_and_waited_for(tmp_path: Path) -> None:
    said: list[str] = []
    source = StateFolder(tmp_path / "later", 0.01, lambda file, problem: said.append(problem))
    assert source.poll() is None
    assert source.poll() is None
    assert len(said) == 1
    State(tmp_path / "later")
    assert source.poll() is not None


def test_of_two_services_with_one_name_the_first_has_it(world: World) -> None:
    world.state.service("b", served="name")
    world.state.service("a", served="name")
    world.state.endpoints(a=["127.0.0.1:1"], b=["127.0.0.1:2"])
    assert world.look().models["name"].service == "a"


async def test_a_running_source_swaps_snapshots(world: World) -> None:
    catalog = Catalog()
    swapped = asyncio.Queue[Snapshot]()
    catalog.on_change.append(swapped.put_nowait)
    task = asyncio.create_task(world.source.run(catalog))
    first = await swapped.get()
    world.state.service("m")
    second = await swapped.get()
    assert (set(first.models), set(second.models)) == (set(), {"m"})
    assert catalog.snapshot is second
    task.cancel()


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_endpoints_file_raises_anything_but_value_errors(data: bytes) -> None:
    with suppress(ValueError):
        read_endpoints(data)


@pytest.mark.parametrize(
    ("traffic", "ready", "serves", "split"),
    [
        ({}, "a1 b1", "a1 b1", {}),
        ({"a": 100}, "a1 b1", "a1", {}),
        ({"a": 90, "b": 10}, "a1 a2 b1", "a1 a2 b1", {"a": 90, "b": 10}),
        ({"a": 90, "b": 10}, "a1 a2", "a1 a2", {}),
        ({"a": 100, "b": 0}, "a1 b1", "a1", {}),
        ({"a": 100, "b": 0}, "b1", "b1", {}),
        ({"a": 100}, "c1", "c1", {}),
        ({"a": 50, "b": 50, "c": 0}, "b1 c1", "b1", {}),
        ({"a": 50, "b": 50}, "", "", {}),
    ],
)
def test_traffic_says_which_revisions_serve(
    traffic: dict[str, int], ready: str, serves: str, split: dict[str, int]
) -> None:
    service = LLMService.model_validate(
        {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "LLMService",
            "metadata": {"name": "m"},
            "spec": {"model": {"source": "hf://org/model"}},
            "status": {"traffic": [{"revision": name, "weight": weight} for name, weight in traffic.items()]},
        }
    )
    addresses = ("a1", "a2", "b1", "c1")
    endpoints = tuple(Endpoint(each, each in ready.split(), each[0]) for each in addresses)
    (model,) = models_of(service, endpoints)
    assert model.ready == tuple(serves.split())
    assert {share.revision: share.weight for share in model.split} == split
    assert set(model.ready) | set(model.others) == set(addresses)
