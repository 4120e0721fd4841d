"""A podTemplate over the operator's own pod is merged as kubectl's strategic merge patch would."""

import copy
from typing import Any

import pytest

from slipway_operator.merging import merge

POD = {
    "spec": {
        "nodeSelector": {"disk": "fast"},
        "volumes": [{"name": "home", "emptyDir": {}}],
        "containers": [
            {
                "name": "engine",
                "args": ["a", "b"],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "ports": [{"containerPort": 8001, "name": "http"}],
                "livenessProbe": {"periodSeconds": 10},
            }
        ],
    }
}


def engine(**fields: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "engine", **fields}]}}


def test_containers_are_known_by_their_name_and_others_join() -> None:
    merged = merge(
        POD, {"spec": {"containers": [{"name": "proxy", "image": "p"}, {"name": "engine", "tty": True}]}}
    )
    assert merged["spec"]["containers"] == [
        {**POD["spec"]["containers"][0], "tty": True},  # type: ignore[index]
        {"name": "proxy", "image": "p"},
    ]


@pytest.mark.parametrize(
    ("over", "field", "expected"),
    [
        (engine(env=[{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]), "env",
         [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}]),
        (engine(env=[{"name": "A", "$patch": "delete"}]), "env", [{"name": "B", "value": "2"}]),
        (engine(env=[{"$patch": "replace"}, {"name": "C", "value": "4"}]), "env",
         [{"name": "C", "value": "4"}]),
        (engine(env=[{"name": "Z", "$patch": "delete"}]), "env",
         [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]),
        (engine(ports=[{"containerPort": 8001, "name": "web"}]), "ports",
         [{"containerPort": 8001, "name": "web"}]),
        (engine(args=["c"]), "args", ["c"]),
        (engine(livenessProbe=None), "livenessProbe", None),
        (engine(livenessProbe={"$patch": "replace", "timeoutSeconds": 1}), "livenessProbe",
         {"timeoutSeconds": 1}),
        (engine(lifecycle={"preStop": None, "postStart": {"exec": {}}}), "lifecycle",
         {"postStart": {"exec": {}}}),
        (engine(volumeMounts=[{"mountPath": "/a", "name": "home", "subPath": None}]), "volumeMounts",
         [{"mountPath": "/a", "name": "home"}]),
        (engine(volumeMounts=[{"mountPath": "/a", "$patch": "delete"}]), "volumeMounts", []),
    ],
)  # fmt: skip
def test_each_field_is_merged_by_its_kind(over: Any, field: str, expected: Any) -> None:
    assert merge(POD, over)["spec"]["containers"][0].get(field) == expected


def test_mappings_gain_lose_and_keep_keys() -> None:
    merged = merge(POD, {"spec": {"nodeSelector": {"disk": None, "zone": "a"}, "priorityClassName": "high"}})
    assert merged["spec"]["nodeSelector"] == {"zone": "a"}
    assert merged["spec"]["priorityClassName"] == "high"
    assert merged["spec"]["volumes"] == POD["spec"]["volumes"]


def test_neither_side_is_changed() -> None:
    over = engine(env=[{"name": "B", "value": "3"}], livenessProbe=None)
    before = copy.deepcopy((POD, over))
    merge(POD, over)
    assert (POD, over) == before


def test_nothing_over_a_pod_is_the_pod() -> None:
    assert merge(POD, {}) == POD
    assert merge(POD, POD) == POD
