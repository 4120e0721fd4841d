"""What differs is written, and nothing else; what is somebody else's is left alone."""

import copy
from collections.abc import Callable
from typing import Any, cast

import pytest

from slipway.kube.client import Client
from slipway.kube.errors import ConflictError, NotFoundError
from slipway.kube.kinds import LLM_SERVICE, SERVICE, SERVICE_ACCOUNT, Kind
from slipway_operator import names
from slipway_operator.executor import Executor, ForeignError, NotLeadingError
from slipway_operator.worlds import World, key_of
from unit.operator.written import llm_service

OWNER = names.owner(llm_service())
Change = Callable[[dict[str, Any]], None]


class Server:
    """Objects of a client; `conflicts` is how many applies meet one, `writes_as` what is made of them."""

    def __init__(self) -> None:
        self.items: dict[tuple[Kind, Any], dict[str, Any]] = {}
        self.calls: list[str] = []
        self.version = 10
        self.conflicts = 0
        self.writes_as: Change = lambda item: None

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        self.calls.append("get")
        try:
            return copy.deepcopy(self.items[kind, (namespace, name)])
        except KeyError:
            raise NotFoundError(404, "NotFound", "") from None

    async def apply(self, kind: Kind, item: dict[str, Any], *, force: bool) -> dict[str, Any]:
        self.calls.append("apply!" if force else "apply")
        if self.conflicts:
            self.conflicts -= 1
            raise ConflictError(409, "Conflict", "")
        return self.put(kind, item)

    def put(self, kind: Kind, item: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        made = copy.deepcopy(item)
        made["metadata"] |= {"uid": "u", "resourceVersion": str(self.version)}
        self.writes_as(made)
        self.items[kind, key_of(made)] = made
        return copy.deepcopy(made)

    async def apply_status(self, kind: Kind, item: dict[str, Any]) -> dict[str, Any]:
        self.calls.append("status")
        known = self.items[kind, key_of(item)]
        sent = item["metadata"]
        if (sent["uid"], sent["resourceVersion"]) != (
            known["metadata"]["uid"],
            known["metadata"]["resourceVersion"],
        ):
            raise ConflictError(409, "Conflict", "")
        return self.put(kind, {**known, "status": item["status"]})

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> bool:
        self.calls.append(f"delete {uid}")
        known = self.items.get((kind, (namespace, name)))
        if known is not None and known["metadata"]["uid"] != uid:
            raise ConflictError(409, "Conflict", "")
        return self.items.pop((kind, (namespace, name)), None) is not None


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def executor(server: Server) -> Executor:
    return Executor(cast("Client", server), World())


def child(kind: str = "Service", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": "m", "namespace": "n", "ownerReferences": [OWNER]},
        "spec": spec,
    }


async def test_a_child_is_made_once_and_never_touched_while_it_is_as_wanted(
    server: Server, executor: Executor
) -> None:
    assert await executor.apply(child(a=1))
    for _ in range(3):
        assert not await executor.apply(child(a=1))
    assert server.calls == ["apply"]


async def test_what_differs_is_written(server: Server, executor: Executor) -> None:
    await executor.apply(child(a=1, b=2))
    assert await executor.apply(child(a=2, b=2))
    assert await executor.apply(child(a=2))  # One field less.
    assert server.calls == ["apply", "apply!", "apply!"]
    assert executor.repaired == 0


async def test_what_somebody_changed_is_put_back_and_counted(server: Server, executor: Executor) -> None:
    await executor.apply(child(a=1))
    changed = copy.deepcopy(server.items[SERVICE, ("n", "m")])
    changed["spec"]["a"] = 7
    executor.world.put(SERVICE, server.put(SERVICE, changed))
    assert await executor.apply(child(a=1))
    assert executor.repaired == 1
    assert server.items[SERVICE, ("n", "m")]["spec"] == {"a": 1}


async def test_a_value_that_the_server_writes_in_another_way_is_not_written_for_ever(
    server: Server, executor: Executor
) -> None:
    def as_quantity(item: dict[str, Any]) -> None:
        item["spec"] = {"cpu": "1"}

    server.writes_as = as_quantity
    await executor.apply(child(cpu="1000m"))
    for _ in range(3):
        assert not await executor.apply(child(cpu="1000m"))
    assert await executor.apply(child(cpu="2000m"))


async def test_somebody_elses_object_is_left_alone(server: Server, executor: Executor) -> None:
    server.put(SERVICE, {"metadata": {"name": "m", "namespace": "n"}, "spec": {"theirs": True}})
    server.conflicts = 1
    with pytest.raises(ForeignError, match="Service named m"):
        await executor.apply(child(a=1))
    assert server.items[SERVICE, ("n", "m")]["spec"] == {"theirs": True}


async def test_so_is_one_of_a_kind_whose_fields_would_not_clash(server: Server, executor: Executor) -> None:
    server.put(SERVICE_ACCOUNT, {"metadata": {"name": "m", "namespace": "n"}})
    with pytest.raises(ForeignError):
        await executor.apply(child("ServiceAccount"))
    assert server.calls == ["get"]


async def test_fields_that_another_manager_holds_of_an_own_object_are_taken(
    server: Server, executor: Executor
) -> None:
    server.put(SERVICE, child(a=2))
    server.conflicts = 1
    assert await executor.apply(child(a=1))
    assert server.calls == ["apply", "get", "apply!"]


async def test_a_conflict_over_a_known_child_is_one_of_time_and_not_of_owners(
    server: Server, executor: Executor
) -> None:
    await executor.apply(child(a=1))
    server.conflicts = 1
    with pytest.raises(ConflictError):
        await executor.apply(child(a=2))
    assert await executor.apply(child(a=2))


async def test_a_child_is_deleted_by_its_uid(server: Server, executor: Executor) -> None:
    await executor.apply(child(a=1))
    item = executor.world.get(SERVICE, ("n", "m"))
    assert item is not None
    server.items[SERVICE, ("n", "m")]["metadata"]["uid"] = "another"
    with pytest.raises(ConflictError):
        await executor.delete(SERVICE, item)
    assert server.calls[-1] == "delete u"
    assert (SERVICE, ("n", "m")) in server.items


async def test_a_status_is_written_when_it_differs(server: Server, executor: Executor) -> None:
    item = server.put(LLM_SERVICE, llm_service())
    assert await executor.status(LLM_SERVICE, item, {"replicas": 1})
    known = executor.world.get(LLM_SERVICE, key_of(item))
    assert known is not None
    assert not await executor.status(LLM_SERVICE, known, {"replicas": 1})
    assert server.calls == ["status"]


async def test_a_status_that_was_decided_on_an_older_version_is_not_written(
    server: Server, executor: Executor
) -> None:
    item = server.put(LLM_SERVICE, llm_service())
    server.put(LLM_SERVICE, llm_service(replicas=3))
    with pytest.raises(ConflictError):
        await executor.status(LLM_SERVICE, item, {"replicas": 1})


async def test_who_no_longer_leads_writes_nothing(server: Server) -> None:
    executor = Executor(cast("Client", server), World(), lambda: False)
    item = server.put(SERVICE, child(a=1))
    with pytest.raises(NotLeadingError):
        await executor.apply(child(a=2))
    with pytest.raises(NotLeadingError):
        await executor.delete(SERVICE, item)
    with pytest.raises(NotLeadingError):
        await executor.status(LLM_SERVICE, llm_service(), {"a": 1})
    assert server.calls == []
