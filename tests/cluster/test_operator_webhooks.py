"""A real admission webhook in the operator's way: what it says is told, and so is its absence."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.convergence import because, until
from cluster.installation import condition, events, service
from cluster.kubectl import Kubectl, KubectlError
from cluster.operators import acting
from cluster.webhooks import REASON, configuration, refusing
from slipway.kube.config import load


@pytest.fixture(scope="module", autouse=True)
def definitions(kubectl: Kubectl, own_cluster: bool) -> None:
    if not own_cluster:
        pytest.skip("The webhook is a server of this machine, which somebody else's cluster does not reach.")
    kubectl("apply", "--server-side", "--force-conflicts", "--kustomize=k8s/crds")
    kubectl("wait", "--for=condition=Established", "crd", "llmservices.slipway.dev")


@pytest.fixture
def port(kubectl: Kubectl, namespace: str) -> Iterator[int]:
    """Of a webhook that is in force, and refuses."""
    with refusing() as port:
        kubectl.apply(namespace, configuration(namespace, port))
        try:
            _await_refusal(kubectl, namespace)
            yield port
        finally:
            kubectl("delete", "validatingwebhookconfiguration", namespace)


def _await_refusal(kubectl: Kubectl, namespace: str) -> None:
    """Return once the API server asks the webhook: it takes a moment to learn of it."""
    trial = ("create", "deployment", "trial", "--image=none", "--dry-run=server", f"--namespace={namespace}")
    while True:
        try:
            kubectl(*trial)
        except KubectlError as refusal:
            if REASON in str(refusal):
                return
            raise


async def test_what_a_webhook_refuses_is_told_and_made_once_it_agrees(
    kubectl: Kubectl, cluster: Path, namespace: str, fake_engine: str, port: int
) -> None:
    kubectl.apply(namespace, service("m"))
    async with acting(load({"KUBECONFIG": str(cluster)}), namespace, engine_image_cpu=fake_engine):
        found = await until(kubectl, namespace, because("Ready", "RefusedByWebhook"), "the refusal")
        assert REASON in condition(found, "Ready")["message"]
        assert REASON in events(kubectl, namespace, "m")["RefusedByWebhook"]
        await asyncio.to_thread(kubectl, "delete", "validatingwebhookconfiguration", namespace)
        await until(kubectl, namespace, because("Ready", "Serving"), "the service, ready after all")
        kubectl.apply(namespace, configuration(namespace, port))  # For the fixture to delete.


async def test_a_webhook_that_is_away_is_told(
    kubectl: Kubectl, cluster: Path, namespace: str, fake_engine: str
) -> None:
    with refusing() as port:
        kubectl.apply(namespace, configuration(namespace, port))
        _await_refusal(kubectl, namespace)
    try:
        kubectl.apply(namespace, service("m"))
        async with acting(load({"KUBECONFIG": str(cluster)}), namespace, engine_image_cpu=fake_engine):
            found = await until(kubectl, namespace, because("Ready", "WebhookUnavailable"), "its absence")
            assert "monday.example.com" in condition(found, "Ready")["message"]
            assert "delete its configuration" in events(kubectl, namespace, "m")["WebhookUnavailable"]
    finally:
        kubectl("delete", "validatingwebhookconfiguration", namespace)
