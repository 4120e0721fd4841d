"""One gateway with SQLite on a volume, as the chart installs it by default: upgraded under traffic."""

import json
from collections.abc import Callable, Iterator

import pytest

from cluster.helm import Helm, program
from cluster.installation import RELEASE, Installation, condition, image, key, service, until
from cluster.kubectl import Kubectl
from cluster.traffic import traffic


@pytest.fixture
def installed(
    kubectl: Kubectl, namespace: str, project_image: Callable[[str], str], fake_engine: str
) -> Iterator[Installation]:
    """A release that looks after its own namespace alone, with a model and a key in it."""
    small = {"requests": {"cpu": "10m", "memory": "128Mi"}}
    values = {
        "watchNamespace": namespace,
        "gateway": {"image": image(project_image("gateway")), "drainTimeout": 30, "resources": small},
        "operator": {"replicas": 1, "resources": small},
        "engines": {"device": "cpu", "cpu": image(fake_engine)},
        "test": {"keySecret": {"name": "apikey-tester"}, "model": "m"},
    }
    installation = Installation(kubectl, Helm(program(), kubectl.kubeconfig), namespace, values)
    installation.install()
    kubectl.apply(namespace, service("m"), key("tester"))
    until(kubectl, namespace, "m", lambda found: condition(found, "Ready").get("status") == "True")
    yield installation
    kubectl("delete", f"--namespace={namespace}", "llmservices,apikeys", "--all")
    installation.uninstall()


def test_upgrade_and_rollback_cost_no_request_and_no_usage_record(
    installed: Installation, kubectl: Kubectl, namespace: str, python_image: str
) -> None:
    def gateways() -> set[str]:
        selector = "--selector=app.kubernetes.io/component=gateway"
        return {item["metadata"]["name"] for item in kubectl.get(namespace, "pods", selector)["items"]}

    first = gateways()
    with traffic(
        kubectl, namespace, python_image, url=installed.url, key="apikey-tester", model="m"
    ) as asking:
        asking.goes_on()
        installed.install(gateway={"settings": {"max_body": 1 << 20}})
        asking.goes_on()
        second = gateways() - first
        assert second
        installed.run("rollback", RELEASE, "1", "--wait")
        asking.goes_on()
        assert gateways() - first - second
        counts = asking.end()
        assert asking.failures() == []
    assert counts["ok"] == counts["sent"] > 50
    said = installed.run("test", RELEASE, "--logs")
    assert "Phase:          Succeeded" in said
    assert "m: 'The capital of France is Paris.'" in said
    usage = ("slipway", "usage", "--by", "model", "--output", "json")
    told = kubectl("exec", f"--namespace={namespace}", f"deployment/{RELEASE}-gateway", "--", *usage)
    assert json.loads(told)["total"]["requests"] == counts["sent"] + 1
