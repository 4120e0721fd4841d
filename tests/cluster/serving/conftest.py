"""Slipway installed once for each module of this folder, with engines without a model."""

from collections.abc import Callable, Iterator

import pytest

from cluster.helm import Helm
from cluster.installation import Installation, image, key
from cluster.kubectl import Kubectl
from cluster.programs import programs

NAMESPACE = "slipway-system"


@pytest.fixture(scope="module")
def slipway(
    kubectl: Kubectl, project_image: Callable[[str], str], fake_engine: str
) -> Iterator[Installation]:
    """The chart's release with two gateways, two operators, and the fake engine for every model."""
    helm = Helm(programs() / "helm", kubectl.kubeconfig)
    gateway = project_image("gateway")
    small = {"requests": {"cpu": "10m", "memory": "128Mi"}}
    values = {
        "gateway": {"replicas": 2, "image": image(gateway), "drainTimeout": 30, "resources": small},
        "operator": {"replicas": 2, "resources": small},
        "engines": {"device": "cpu", "cpu": image(fake_engine)},
        "database": {"ephemeral": True},
    }
    installation = Installation(kubectl, helm, NAMESPACE, values)
    kubectl("create", "namespace", NAMESPACE)
    kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    try:
        installation.install()
        yield installation
        installation.uninstall()
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--timeout=120s")


@pytest.fixture
def models(slipway: Installation, kubectl: Kubectl, namespace: str) -> str:
    """A namespace with a key that may call everything."""
    kubectl.apply(namespace, key("tester"))
    kubectl.wait(namespace, "condition=Ready", "apikey/tester")
    return namespace
