"""Slipway installed once for each module of this folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cluster.helm import Helm, program
from cluster.installation import Installation, image, key
from cluster.kubectl import Kubectl

NAMESPACE = "slipway-system"


@contextmanager
def installed(kubectl: Kubectl, gateway: str, engines: dict[str, Any], **more: Any) -> Iterator[Installation]:
    """The chart's release with two gateways and two operators, and `engines` and `more` as its values say."""
    helm = Helm(program(), kubectl.kubeconfig)
    small = {"requests": {"cpu": "10m", "memory": "128Mi"}}
    values = {
        "gateway": {"replicas": 2, "image": image(gateway), "drainTimeout": 30, "resources": small},
        "operator": {"replicas": 2, "resources": small},
        "engines": engines,
        "database": {"ephemeral": True},
        **more,
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


@pytest.fixture(scope="module")
def slipway(
    kubectl: Kubectl, project_image: Callable[[str], str], fake_engine: str
) -> Iterator[Installation]:
    """Slipway with the fake engine for every model."""
    engines = {"device": "cpu", "cpu": image(fake_engine)}
    with installed(kubectl, project_image("gateway"), engines) as installation:
        yield installation


@pytest.fixture
def models(slipway: Installation, kubectl: Kubectl, namespace: str) -> Iterator[str]:
    """A namespace with a key that may call everything."""
    kubectl.apply(namespace, key("tester"))
    kubectl.wait(namespace, "condition=Ready", "apikey/tester")
    yield namespace
    # The namespace takes its time to go; until then the next test's models and keys would be second.
    kubectl("delete", "llmservices,apikeys", "--all", f"--namespace={namespace}", "--timeout=60s")
