"""The operator killed before every write, doubled, fought with, refused and lied to, on a real API server."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from cluster.convergence import (
    CHANGED,
    OBJECTS,
    alone,
    because,
    one_revision,
    settled,
    state,
    turned,
    until,
)
from cluster.installation import condition, events, key, service
from cluster.kubectl import Kubectl, KubectlError
from cluster.operators import acting
from slipway.kube.config import Connection, load

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""An operator that is killed leaves its connections as they are, as a killed process does."""


@pytest.fixture
def connection(cluster: Path) -> Connection:
    return load({"KUBECONFIG": str(cluster)})


@pytest.fixture(scope="module", autouse=True)
def definitions(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "--force-conflicts", "--kustomize=k8s/crds")
    kubectl("wait", "--for=condition=Established", "crd", "llmservices.slipway.dev", "apikeys.slipway.dev")


async def lead_to_the_end(
    kubectl: Kubectl, namespace: str, connection: Connection, image: str, lives: int
) -> int:
    """Make the objects, change one; the operator's `lives`-th write kills it, and another goes on.

    Returns how often was written before it was killed.
    """
    kubectl.apply(namespace, *OBJECTS)
    writes = 0
    settings: dict[str, Any] = {"engine_image_cpu": image}
    for wanted in (None, CHANGED):
        if wanted is not None:
            kubectl.apply(namespace, wanted)
        async with acting(connection, namespace, lives=lives, **settings) as running:
            assert running.client.killed is not None
            killed = asyncio.create_task(running.client.killed.wait())
            done = asyncio.create_task(until(kubectl, namespace, settled, "the first way"))
            await asyncio.wait((killed, done), return_when=asyncio.FIRST_COMPLETED)
            killed.cancel()
            done.cancel()
            writes = max(writes, running.client.writes)
        async with acting(connection, namespace, **settings):
            await until(kubectl, namespace, settled, "the second way")
    async with acting(connection, namespace, **settings):
        await until(kubectl, namespace, lambda found: one_revision(kubectl, namespace), "the old one's end")
        await until(kubectl, namespace, alone, "one replica")
    return writes


@pytest.mark.timeout(1200)
async def test_killed_before_any_write_it_comes_to_the_same_state(
    kubectl: Kubectl, connection: Connection, namespace: str, fake_engine: str
) -> None:
    await lead_to_the_end(kubectl, namespace, connection, fake_engine, 0)
    expected = state(kubectl, namespace)
    assert {"Secret/apikey-k", "LLMService/m"} < expected.keys()
    lives = 1
    while True:
        kubectl("delete", "llmservices,apikeys", "--all", f"--namespace={namespace}", "--cascade=foreground")
        writes = await lead_to_the_end(kubectl, namespace, connection, fake_engine, lives)
        assert state(kubectl, namespace) == expected, f"killed before write {lives}"
        if writes < lives:
            break
        lives += 1
    assert lives > 10


async def test_drift_is_repaired_and_what_others_own_is_left_alone(
    kubectl: Kubectl, connection: Connection, namespace: str, fake_engine: str
) -> None:
    kubectl.apply(namespace, service("m"))
    async with acting(connection, namespace, engine_image_cpu=fake_engine) as running:
        found = await until(kubectl, namespace, settled, "the first rollout")
        name = f"m-{found['status']['stableRevision']}"
        target = ("deployment", name, f"--namespace={namespace}")
        await asyncio.to_thread(kubectl, "scale", *target, "--replicas=3")
        await asyncio.to_thread(kubectl, "label", *target, "team=theirs")
        await asyncio.to_thread(kubectl, "delete", "service", name, f"--namespace={namespace}")

        def repaired(_: Any) -> bool:
            deployment = kubectl.get(namespace, "deployment", name)
            services = [item["metadata"]["name"] for item in kubectl.get(namespace, "services")["items"]]
            return deployment["spec"]["replicas"] == 1 and name in services

        await until(kubectl, namespace, repaired, "the repair")
        assert kubectl.get(namespace, "deployment", name)["metadata"]["labels"]["team"] == "theirs"
        writes = running.client.writes
        await until(kubectl, namespace, lambda found: found["status"]["replicas"] == 1, "one replica")
        assert running.operator.executor.repaired >= 1
        assert running.client.writes < writes + 20


async def test_a_child_that_somebody_else_changes_again_and_again_is_told_and_left_for_a_while(
    kubectl: Kubectl, connection: Connection, namespace: str, fake_engine: str
) -> None:
    kubectl.apply(namespace, service("m"))
    async with acting(connection, namespace, engine_image_cpu=fake_engine) as running:
        found = await until(kubectl, namespace, settled, "the first rollout")
        name = f"m-{found['status']['stableRevision']}"

        def fought(found: dict[str, Any]) -> bool:
            if condition(found, "Degraded").get("reason") == "Contested":
                return True
            kubectl("scale", "deployment", name, f"--namespace={namespace}", "--replicas=2")
            return False

        found = await until(kubectl, namespace, fought, "the end of the fight")
        assert "--show-managed-fields" in condition(found, "Degraded")["message"]
        assert running.operator.executor.repaired == 5


async def test_a_policy_that_refuses_pods_owners_is_told(
    kubectl: Kubectl, connection: Connection, namespace: str, fake_engine: str
) -> None:
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": namespace},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [
                    {
                        "apiGroups": ["apps"],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["deployments"],
                    }
                ],
            },
            "validations": [{"expression": "false", "message": "no new deployments before Monday"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": namespace},
        "spec": {"policyName": namespace, "validationActions": ["Deny"]},
    }
    kubectl.apply(namespace, policy, binding)
    try:
        await asyncio.wait_for(asyncio.to_thread(_in_force, kubectl, namespace), 60)
        kubectl.apply(namespace, service("m"))
        async with acting(connection, namespace, engine_image_cpu=fake_engine):
            found = await until(
                kubectl,
                namespace,
                because("Ready", "RefusedByPolicy"),
                "the refusal",
            )
            assert "before Monday" in condition(found, "Ready")["message"]
            assert "before Monday" in events(kubectl, namespace, "m")["RefusedByPolicy"]
    finally:
        kubectl("delete", "validatingadmissionpolicies,validatingadmissionpolicybindings", namespace)


def _in_force(kubectl: Kubectl, namespace: str) -> None:
    """Return once the API server refuses a Deployment: it takes a moment to learn of a policy."""
    trial = ("create", "deployment", "trial", "--image=none", "--dry-run=server", f"--namespace={namespace}")
    while True:
        try:
            kubectl(*trial)
        except KubectlError as refusal:
            if "before Monday" in str(refusal):
                return
            raise


async def test_nothing_is_written_while_nothing_changes(
    kubectl: Kubectl, connection: Connection, namespace: str, fake_engine: str
) -> None:
    kubectl.apply(namespace, *OBJECTS)
    async with acting(connection, namespace, engine_image_cpu=fake_engine):
        await until(kubectl, namespace, settled, "the first rollout")
        await asyncio.to_thread(kubectl.wait, namespace, "condition=Ready", "apikey/k")
    async with acting(connection, namespace, engine_image_cpu=fake_engine) as again:
        # A new operator looks at everything once.
        await turned(again, "LLMService")
        assert again.client.writes == 0


async def test_a_paused_service_is_left_as_it_is(
    kubectl: Kubectl, connection: Connection, namespace: str, fake_engine: str
) -> None:
    kubectl.apply(namespace, service("m"))
    where = f"--namespace={namespace}"
    async with acting(connection, namespace, engine_image_cpu=fake_engine):
        await until(kubectl, namespace, settled, "the first rollout")
        kubectl("annotate", "llmservice", "m", "slipway.dev/paused=true", where)
        kubectl("scale", "llm/m", "--replicas=2", where)
        await until(
            kubectl,
            namespace,
            because("Progressing", "Paused"),
            "the pause",
        )
        assert kubectl.get(namespace, "deployments")["items"][0]["spec"]["replicas"] == 1
        kubectl("annotate", "llmservice", "m", "slipway.dev/paused-", where)
        await until(kubectl, namespace, lambda found: found["status"]["readyReplicas"] == 2, "two replicas")


@pytest.mark.parametrize(
    ("spec", "reason", "mend"),
    [
        (
            {"engine": {"device": "cpu", "image": "localhost/none:test"}},
            "ImageCannotBePulled",
            "engine.image",
        ),
        (
            {"engine": {"device": "cpu", "args": ["--fail=SourceNotFound:org/none is not there."]}},
            "SourceNotFound",
            "org/none",
        ),
        (
            {"engine": {"device": "cpu", "resources": {"requests": {"cpu": "900"}}}},
            "Unschedulable",
            "engine.resources",
        ),
        (
            {"engine": {"device": "cpu"}, "cache": {"nodePath": "/var/models"}},
            "PodSecurityViolated",
            "cache.nodePath",
        ),
    ],
    ids=["image", "model", "node", "security"],
)
async def test_what_keeps_pods_from_running_is_a_condition_and_an_event_with_the_mend(
    kubectl: Kubectl,
    connection: Connection,
    namespace: str,
    fake_engine: str,
    spec: dict[str, Any],
    reason: str,
    mend: str,
) -> None:
    kubectl.apply(namespace, service("m", **spec))
    async with acting(connection, namespace, engine_image_cpu=fake_engine):
        found = await until(kubectl, namespace, because("Ready", reason), reason)
    assert mend in condition(found, "Ready")["message"]
    assert condition(found, "Degraded")["status"] == "True"
    assert mend in events(kubectl, namespace, "m")[reason]


async def test_a_quota_that_is_used_up_is_told(
    kubectl: Kubectl, connection: Connection, namespace: str, fake_engine: str
) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"pods": "0"}},
    }
    kubectl.apply(namespace, quota, service("m"))
    async with acting(connection, namespace, engine_image_cpu=fake_engine):
        found = await until(
            kubectl,
            namespace,
            because("Ready", "QuotaExceeded"),
            "the quota's refusal",
        )
        assert "ResourceQuota" in condition(found, "Ready")["message"]
        kubectl("delete", "resourcequota", "none", f"--namespace={namespace}")
        await until(kubectl, namespace, settled, "the rollout once there is room")


async def test_somebody_elses_object_is_not_taken_over(
    kubectl: Kubectl, connection: Connection, namespace: str, fake_engine: str
) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "m"},
        "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]},
    }
    kubectl.apply(namespace, theirs, service("m"))
    async with acting(connection, namespace, engine_image_cpu=fake_engine):
        found = await until(
            kubectl,
            namespace,
            because("Degraded", "NameTaken"),
            "the clash",
        )
        assert "Service" in condition(found, "Degraded")["message"]
    assert kubectl.get(namespace, "service", "m")["spec"]["selector"] == {"app": "theirs"}


async def test_a_key_is_made_once_and_rotated_on_demand(
    kubectl: Kubectl, connection: Connection, namespace: str
) -> None:
    kubectl.apply(namespace, key("k"))
    where = f"--namespace={namespace}"

    def secret() -> Any:
        return kubectl.get(namespace, "secret", "apikey-k")["data"]["key"]

    async with acting(connection, namespace):
        await asyncio.to_thread(kubectl.wait, namespace, "condition=Ready", "apikey/k")
        first = kubectl.get(namespace, "apikey", "k")["status"]
        plain = secret()
        kubectl("annotate", "apikey", "k", "slipway.dev/rotate-key=1", where)
        path = "jsonpath={.status.handledRotation}=1"
        await asyncio.to_thread(kubectl.wait, namespace, path, "apikey/k")
        second = kubectl.get(namespace, "apikey", "k")["status"]
        assert secret() != plain
        assert second["previousKeyHash"] == first["keyHash"] != second["keyHash"]
        kubectl("delete", "secret", "apikey-k", where)
    async with acting(connection, namespace) as again:
        # Who has taken the key away has it; it is not made anew.
        await turned(again, "APIKey")
    assert kubectl.get(namespace, "apikey", "k")["status"]["keyHash"] == second["keyHash"]
    assert not any(
        item["metadata"]["name"] == "apikey-k" for item in kubectl.get(namespace, "secrets")["items"]
    )
