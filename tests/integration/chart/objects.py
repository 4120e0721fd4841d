"""Looking into rendered objects."""

from collections.abc import Iterable, Iterator
from typing import Any

Object = dict[str, Any]


def of_kind(rendered: Iterable[Object], *kinds: str) -> list[Object]:
    return [each for each in rendered if each["kind"] in kinds]


def named(rendered: Iterable[Object], kind: str, name: str) -> Object:
    [found] = [each for each in of_kind(rendered, kind) if each["metadata"]["name"] == name]
    return found


def pod_of(item: Object) -> Object:
    """The pod spec of a Pod, or of what makes pods."""
    spec: Object = item["spec"] if item["kind"] == "Pod" else item["spec"]["template"]["spec"]
    return spec


def pods(rendered: Iterable[Object]) -> Iterator[tuple[str, Object]]:
    """Name and pod spec of everything that runs."""
    for item in of_kind(rendered, "Pod", "Deployment", "StatefulSet", "Job", "DaemonSet"):
        yield item["metadata"]["name"], pod_of(item)


def container(item: Object) -> Object:
    """The one container."""
    [found] = pod_of(item)["containers"]
    assert isinstance(found, dict)
    return found


def environment(one: Object) -> dict[str, Any]:
    """Variables by name: their value, or where it comes from."""
    names = [each["name"] for each in one["env"]]
    assert len(names) == len(set(names)), "a name twice"
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in one["env"]}
