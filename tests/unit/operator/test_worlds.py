"""The newest version of each object counts, whoever tells it."""

from typing import Any

from slipway.kube.kinds import LLM_SERVICE, POD, SECRET, SERVICE
from slipway_operator import names
from slipway_operator.worlds import World, owner_of


def item(name: str, version: int, uid: str = "1", of: str | None = "m", **labels: str) -> dict[str, Any]:
    owners = [{"kind": "LLMService", "name": of, "controller": True}] if of else []
    return {
        "metadata": {
            "name": name, "namespace": "n", "uid": uid, "resourceVersion": str(version),
            "ownerReferences": owners, "labels": labels, "managedFields": ["long"],
        }
    }  # fmt: skip


def test_the_newest_version_wins_in_whatever_order_they_come() -> None:
    world = World()
    assert world.put(SERVICE, item("s", 5))
    assert not world.put(SERVICE, item("s", 3))
    assert not world.put(SERVICE, item("s", 5))
    assert world.put(SERVICE, item("s", 12))  # Not as text: "12" < "5".
    found = world.get(SERVICE, ("n", "s"))
    assert found is not None
    assert found["metadata"]["resourceVersion"] == "12"
    assert "managedFields" not in found["metadata"]


def test_what_is_made_anew_is_another_object() -> None:
    world = World()
    world.put(SERVICE, item("s", 5, uid="old"))
    assert world.put(SERVICE, item("s", 7, uid="new"))
    assert not world.put(SERVICE, item("s", 6, uid="old"))
    world.remove(SERVICE, item("s", 6, uid="old"))
    found = world.get(SERVICE, ("n", "s"))
    assert found is not None
    assert found["metadata"]["uid"] == "new"
    world.remove(SERVICE, item("s", 8, uid="new"))
    assert world.get(SERVICE, ("n", "s")) is None


def test_an_answer_that_comes_after_the_deletion_brings_nothing_back() -> None:
    world = World()
    world.put(SERVICE, item("s", 5))
    world.remove(SERVICE, item("s", 7))
    assert not world.put(SERVICE, item("s", 6))
    assert world.get(SERVICE, ("n", "s")) is None
    assert world.children(LLM_SERVICE, ("n", "m")) == {}
    # A list that was older than what was known is believed at last, and followed by what it lacked.
    assert world.put(SERVICE, item("s", 7))


def test_children_are_found_by_owner_and_pods_by_label() -> None:
    world = World()
    world.put(SERVICE, item("s", 1))
    world.put(SERVICE, item("foreign", 1, of=None))
    for number, label in enumerate((names.SERVICE, names.WORKER_OF, names.FETCH_OF)):
        world.put(POD, item(f"p{number}", 1, of=None, **{label: "m"}))
    assert {name for _, name in world.children(LLM_SERVICE, ("n", "m"))} == {"s", "p0", "p1", "p2"}
    assert world.children(LLM_SERVICE, ("other", "m")) == {}
    world.remove(POD, item("p1", 2, of=None, **{names.WORKER_OF: "m"}))
    assert {name for _, name in world.children(LLM_SERVICE, ("n", "m"))} == {"s", "p0", "p2"}


def test_a_child_that_changes_hands_leaves_its_service() -> None:
    world = World()
    world.put(SERVICE, item("s", 1))
    world.put(SERVICE, item("s", 2, of="other"))
    assert world.children(LLM_SERVICE, ("n", "m")) == {}
    assert list(world.children(LLM_SERVICE, ("n", "other"))) == [(SERVICE, "s")]


def test_objects_of_one_name_and_different_kinds_are_apart() -> None:
    world = World()
    world.put(SERVICE, item("m", 1))
    world.put(LLM_SERVICE, item("m", 9, of=None))
    assert [each["metadata"]["resourceVersion"] for each in world.all(SERVICE)] == ["1"]
    assert list(world.all(SECRET)) == []


def test_an_owner_that_does_not_control_is_none() -> None:
    child = item("s", 1)
    child["metadata"]["ownerReferences"][0]["controller"] = False
    assert owner_of(child) is None


def test_what_only_a_write_told_of_is_gone_once_a_newer_list_lacks_it() -> None:
    world = World()
    for name, version in (("listed", 3), ("gone", 4), ("newer", 9)):
        world.put(SERVICE, item(name, version))
    world.put(SECRET, item("other", 4))
    (missing,) = world.missing(SERVICE, {("n", "listed")}, "7")
    assert missing["metadata"]["name"] == "gone"
    world.remove(SERVICE, missing)
    assert world.missing(SERVICE, {("n", "listed")}, "7") == []
