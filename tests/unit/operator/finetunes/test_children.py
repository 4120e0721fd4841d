"""The pods of a FineTune: no rights, no root, its sources' claims; and who may reach them."""

from typing import Any

import pytest

from slipway.kube.kinds import DEPLOYMENT, NETWORK_POLICY
from slipway.objects import FineTune
from slipway_operator import names
from slipway_operator.children import parsed as labels_in
from slipway_operator.executor import kind_of
from slipway_operator.finetunes.children import Attempt, artifact_server, shared, stage_job
from slipway_operator.finetunes.documents import document
from unit.operator.finetunes.workshop import fine_tune
from unit.operator.network_policies import Endpoint, lets_in
from unit.operator.pod_security import violations
from unit.operator.written import NAMESPACE, SETTINGS

OPERATOR = Endpoint("slipway-system", labels_in(SETTINGS.operator_selector))
ENGINE = Endpoint(NAMESPACE, names.labels("m", "abc"))
STRANGER = Endpoint(NAMESPACE, {"app": "x"})


def parsed(item: dict[str, Any]) -> FineTune:
    return FineTune.model_validate(item)


def job(stage: Any = "train", **spec: Any) -> dict[str, Any]:
    item = fine_tune(**spec)
    return stage_job(parsed(item), Attempt(stage, 1, "token"), item, SETTINGS)


def pod(stage: Any = "train", **spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = job(stage, **spec)["spec"]["template"]
    return found


@pytest.mark.parametrize("spec", [{}, {"nodes": 3}, {"baseModel": {"source": "pvc://models/base"}}])
def test_pods_keep_to_the_restricted_level_and_have_no_token(spec: dict[str, Any]) -> None:
    item = fine_tune(**spec)
    (server, _, _) = artifact_server(parsed(item), item, SETTINGS)
    for template in (pod(**spec), server["spec"]["template"]):
        assert list(violations(template["spec"])) == []
        assert template["spec"]["automountServiceAccountToken"] is False
        for container in template["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_operator_alone_begins_again() -> None:
    assert job()["spec"]["backoffLimit"] == 0
    assert pod()["spec"]["restartPolicy"] == "Never"


def test_sources_in_claims_are_folders_that_are_mounted() -> None:
    sources = [{"name": "s", "source": "pvc://data/faq.jsonl"}]
    spec = {"baseModel": {"source": "pvc://models/base"}, "dataset": {"sources": sources}}
    said = document(fine_tune(**spec))
    assert "file:///mnt/claims/models/base" in said
    assert "file:///mnt/claims/data/faq.jsonl" in said
    mounts = {
        each["mountPath"]: each["readOnly"]
        for each in pod(**spec)["spec"]["containers"][0]["volumeMounts"]
        if "claims" in each["mountPath"]
    }
    assert mounts == {"/mnt/claims/data": True, "/mnt/claims/models": True}


def test_devices_are_for_the_stages_that_compute() -> None:
    resources = {"limits": {"nvidia.com/gpu": 2, "memory": "8Gi"}}
    computing = pod("train", resources=resources)["spec"]["containers"][0]["resources"]
    assert computing["limits"] == {"nvidia.com/gpu": "2", "memory": "8Gi"}
    preparing = pod("prepare", resources=resources)["spec"]["containers"][0]["resources"]
    assert preparing["limits"] == {"memory": "8Gi"}


def test_a_template_is_merged_and_labels_stay() -> None:
    secret = {"secretKeyRef": {"name": "hub", "key": "token"}}
    over = {
        "metadata": {"labels": {names.STAGE: "x", "team": "a"}},
        "spec": {
            "nodeSelector": {"gpu": "yes"},
            "containers": [{"name": "training", "env": [{"name": "HF_TOKEN", "valueFrom": secret}]}],
        },
    }
    made = pod(podTemplate=over)
    assert made["metadata"]["labels"][names.STAGE] == "train"
    assert made["metadata"]["labels"]["team"] == "a"
    assert made["spec"]["nodeSelector"] == {"gpu": "yes"}
    variables = [each["name"] for each in made["spec"]["containers"][0]["env"]]
    assert variables == ["SLIPWAY_CACHE", "HF_HOME", "HF_TOKEN"]


def test_what_stages_do_not_know_changes_no_document() -> None:
    plain = document(fine_tune())
    assert document(fine_tune(suspend=True, resources={"limits": {"cpu": 1}}, image="x")) == plain
    assert document(fine_tune(hyperparameters={"epochs": 9})) != plain


def policies(**spec: Any) -> dict[str, Any]:
    item = fine_tune(**spec)
    made = [*shared(parsed(item), item, SETTINGS), *artifact_server(parsed(item), item, SETTINGS)]
    return {each["metadata"]["name"]: each for each in made if kind_of(each) == NETWORK_POLICY}


def test_operators_alone_read_progress() -> None:
    own = Endpoint(NAMESPACE, pod()["metadata"]["labels"])
    policy = list(policies().values())
    assert lets_in(policy, OPERATOR, own, 9091)
    assert not lets_in(policy, ENGINE, own, 9091)
    assert not lets_in(policy, own, own, 29500)
    assert lets_in(list(policies(nodes=2).values()), own, own, 29500)


def test_engines_alone_reach_artifacts() -> None:
    item = fine_tune()
    (server,) = (
        each for each in artifact_server(parsed(item), item, SETTINGS) if kind_of(each) == DEPLOYMENT
    )
    own = Endpoint(NAMESPACE, server["spec"]["template"]["metadata"]["labels"])
    policy = list(policies().values())
    assert lets_in(policy, ENGINE, own, 8002)
    assert not lets_in(policy, STRANGER, own, 8002)
    assert not lets_in(policy, OPERATOR, own, 9091)
