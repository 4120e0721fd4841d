"""The pods of engines: what runs in them, with what, and how little they may do."""

from pathlib import Path
from typing import Any

import pytest

from slipway_operator import names
from slipway_operator.children import fetch_job, revision_children
from slipway_operator.pods import fetch_template, pod_template
from unit.operator.pod_security import violations
from unit.operator.written import SETTINGS, llm_service, parsed

SPECS: dict[str, dict[str, Any]] = {
    "plain": {},
    "claim": {"cache": {"storageClass": "fast"}},
    "pvc": {"model": {"source": "pvc://models/llama/8b"}},
    "gpus": {"engine": {"device": "gpu", "tensorParallel": 4}},
    "nodes": {"engine": {"device": "gpu", "tensorParallel": 8, "pipelineParallel": 2}},
    "key": {"engine": {"env": {"HF_HOME": "/tmp/hf"}}},
    "template": {"engine": {"podTemplate": {"spec": {"containers": [{"name": "engine", "tty": True}]}}}},
}


def template(settings: Any = SETTINGS, **spec: Any) -> Any:
    return pod_template(parsed(llm_service(**spec)), "abc", settings)


def engine(settings: Any = SETTINGS, **spec: Any) -> Any:
    return template(settings, **spec)["spec"]["containers"][0]


def templates(spec: dict[str, Any]) -> list[Any]:
    """Of every pod that comes of an LLMService."""
    parent = llm_service(**spec)
    settings = SETTINGS.model_copy(update={"engine_key_file": Path("/key")})
    group = revision_children(parsed(parent), "abc", 1, settings, parent)[0]["spec"]
    found = [group["template"]] if "template" in group else []
    if "leaderWorkerTemplate" in group:
        found += [group["leaderWorkerTemplate"][f"{role}Template"] for role in ("leader", "worker")]
    job = fetch_job(parsed(parent), settings, parent)
    return found + ([job["spec"]["template"]] if job is not None else [])


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_pod_is_restricted(spec: dict[str, Any]) -> None:
    for each in templates(spec):
        assert list(violations(each["spec"])) == []
        assert each["spec"]["automountServiceAccountToken"] is False
        for container in each["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert {"/tmp", "/var/lib/slipway"} <= {mount["mountPath"] for mount in container["volumeMounts"]}


def test_a_folder_of_the_node_is_the_only_thing_that_is_not_restricted() -> None:
    made = template(cache={"nodePath": "/models"})
    assert list(violations(made["spec"])) == ["volume models"]


def test_each_mount_has_its_volume() -> None:
    for spec in (*SPECS.values(), {"cache": {"nodePath": "/models"}}):
        for each in templates(spec):
            volumes = {volume["name"] for volume in each["spec"]["volumes"]}
            for container in each["spec"]["containers"]:
                assert {mount["name"] for mount in container["volumeMounts"]} == volumes


@pytest.mark.parametrize(
    ("spec", "resources"),
    [
        ({"device": "cpu"}, None),
        ({"device": "gpu"}, {"limits": {"nvidia.com/gpu": "1"}}),
        ({"device": "gpu", "tensorParallel": 4}, {"limits": {"nvidia.com/gpu": "4"}}),
        (
            {"device": "gpu", "resources": {"requests": {"memory": "8Gi"}, "limits": {"memory": "8Gi"}}},
            {"requests": {"memory": "8Gi"}, "limits": {"memory": "8Gi", "nvidia.com/gpu": "1"}},
        ),
        (
            {"device": "gpu", "tensorParallel": 2, "resources": {"limits": {"amd.com/gpu": "2"}}},
            {"limits": {"amd.com/gpu": "2"}},
        ),
        ({"device": "cpu", "resources": {"requests": {"cpu": "500m"}}}, {"requests": {"cpu": "500m"}}),
    ],
)
def test_a_gpu_for_each_part_of_the_model_unless_resources_say_otherwise(spec: Any, resources: Any) -> None:
    assert engine(engine=spec).get("resources") == resources


def test_the_device_left_to_the_cluster_chooses_image_and_gpus() -> None:
    gpus = SETTINGS.model_copy(update={"device": "gpu"})
    assert engine(engine={"device": "auto"})["image"] == "engine:cpu"
    assert engine(gpus, engine={"device": "auto"})["image"] == "engine:gpu"
    assert "resources" in engine(gpus, engine={"device": "auto"})
    assert engine(engine={"image": "mine:1"})["image"] == "mine:1"


def test_a_claim_of_ones_own_is_mounted_to_be_read_and_is_the_source() -> None:
    made = template(model={"source": "pvc://models/llama/8b"})
    args = made["spec"]["containers"][0]["args"]
    assert args[args.index("--source") + 1] == "file:///mnt/model/llama/8b"
    claim = {"claimName": "models", "readOnly": True}
    assert {"name": "claimed", "persistentVolumeClaim": claim} in made["spec"]["volumes"]
    args = engine(model={"source": "pvc://models"})["args"]
    assert args[args.index("--source") + 1] == "file:///mnt/model"


def test_a_pod_template_adds_and_replaces_but_never_the_labels_that_select() -> None:
    theirs = {
        "metadata": {"labels": {"team": "x", names.SERVICE: "stolen"}, "annotations": {"a": "b"}},
        "spec": {
            "nodeSelector": {"gpu": "h100"},
            "containers": [{"name": "engine", "startupProbe": None}, {"name": "proxy", "image": "p"}],
            "volumes": [{"name": "more", "emptyDir": {}}],
        },
    }
    made = template(engine={"podTemplate": theirs})
    assert made["metadata"]["labels"] == {**names.labels("m", "abc"), "team": "x"}
    assert made["metadata"]["annotations"] == {"a": "b"}
    own, proxy = made["spec"]["containers"]
    assert "startupProbe" not in own
    assert own["readinessProbe"]
    assert proxy == {"name": "proxy", "image": "p"}
    assert {"home", "tmp", "shm", "more"} == {volume["name"] for volume in made["spec"]["volumes"]}


@pytest.mark.parametrize("metadata", [None, {"labels": None}, {"$patch": "replace", "labels": {"a": "b"}}])
def test_a_pod_template_cannot_take_the_labels_away(metadata: Any) -> None:
    item = llm_service(engine={"podTemplate": {"metadata": metadata}})
    made = pod_template(parsed(item), "abc", SETTINGS)
    assert names.labels("m", "abc").items() <= made["metadata"]["labels"].items()
    assert item["spec"]["engine"]["podTemplate"] == {"metadata": metadata}


def test_engines_drain_before_they_are_killed_and_after_they_are_no_endpoints() -> None:
    made = template()["spec"]
    delay = made["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert 0 < delay < made["terminationGracePeriodSeconds"]


def test_the_pod_that_fetches_computes_nothing_and_goes_where_engines_go() -> None:
    placed = {"spec": {"tolerations": [{"key": "gpu"}], "containers": [{"name": "proxy", "image": "p"}]}}
    spec = {"device": "gpu", "podTemplate": placed, "resources": {"limits": {"memory": "80Gi"}}}
    made = fetch_template(parsed(llm_service(engine=spec, cache={"storageClass": "fast"})), SETTINGS)
    (container,) = made["spec"]["containers"]
    assert "resources" not in container
    assert "--fetch-only" in container["args"]
    assert made["spec"]["tolerations"] == [{"key": "gpu"}]
    assert made["metadata"]["labels"] == {names.MANAGED_BY: names.MANAGER, names.FETCH_OF: "m"}


def test_the_key_comes_from_the_secret_and_is_in_no_manifest() -> None:
    settings = SETTINGS.model_copy(update={"engine_key_file": Path("/key")})
    (entry,) = engine(settings)["env"]
    assert entry["valueFrom"]["secretKeyRef"] == {"name": "slipway-engine-key", "key": "engine-key"}
