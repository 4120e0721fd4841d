"""The cluster itself: what every other test in this folder takes for granted."""

from collections.abc import Callable

import pytest

from cluster.kubectl import Kubectl, KubectlError
from cluster.pods import fetch, pod, service


@pytest.fixture
def server(kubectl: Kubectl, namespace: str, python_image: str) -> str:
    """A pod `server` that answers over HTTP, behind a Service of the same name."""
    kubectl.apply(namespace, pod("server", python_image), service("server"))
    kubectl.wait(namespace, "condition=Ready", "pod/server")
    return "server"


def test_every_node_is_ready(kubectl: Kubectl) -> None:
    nodes = kubectl.get("default", "nodes")["items"]

    assert nodes
    for node in nodes:
        conditions = {entry["type"]: entry["status"] for entry in node["status"]["conditions"]}
        assert conditions["Ready"] == "True", node["metadata"]["name"]


def test_a_pod_runs_under_restricted_security_as_the_user_it_names(
    kubectl: Kubectl, namespace: str, server: str
) -> None:
    assert kubectl("exec", f"--namespace={namespace}", server, "--", "id", "-u").strip() == "10001"


def test_a_pod_that_may_gain_privileges_is_refused(
    kubectl: Kubectl, namespace: str, python_image: str
) -> None:
    careless = pod("careless", python_image)
    del careless["spec"]["containers"][0]["securityContext"]

    with pytest.raises(KubectlError, match='violates PodSecurity "restricted'):
        kubectl.apply(namespace, careless)


def test_a_services_name_leads_a_pod_to_the_pod_behind_it_and_its_log_shows_the_request(
    kubectl: Kubectl, namespace: str, server: str
) -> None:
    assert fetch(kubectl, namespace, server, f"http://server.{namespace}.svc.cluster.local/?by=name") == "200"

    assert "GET /?by=name" in kubectl("logs", f"--namespace={namespace}", server)


def test_a_claim_gets_a_volume_that_a_user_without_rights_can_write_to(
    kubectl: Kubectl, namespace: str, python_image: str
) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    kubectl.apply(namespace, claim, pod("writer", python_image, volumes=[volume]))
    kubectl.wait(namespace, "condition=Ready", "pod/writer")

    kubectl("exec", f"--namespace={namespace}", "writer", "--", "sh", "-c", "echo kept > /data/file")
    kubectl("delete", f"--namespace={namespace}", "pod", "writer")
    kubectl.apply(namespace, pod("reader", python_image, volumes=[volume]))
    kubectl.wait(namespace, "condition=Ready", "pod/reader")

    assert kubectl("exec", f"--namespace={namespace}", "reader", "--", "cat", "/data/file") == "kept\n"


def test_pods_go_on_while_the_api_server_is_away_and_it_knows_them_when_it_is_back(
    kubectl: Kubectl, namespace: str, server: str, api_server: Callable[[str], object]
) -> None:
    uid = kubectl.get(namespace, "pod", server)["metadata"]["uid"]
    assert fetch(kubectl, namespace, server, f"http://server.{namespace}/") == "200"
    api_server("stop")

    with pytest.raises(KubectlError, match="refused"):
        kubectl("get", "nodes")

    api_server("start")
    after = kubectl.get(namespace, "pod", server)
    assert after["metadata"]["uid"] == uid
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0
    assert fetch(kubectl, namespace, server, f"http://server.{namespace}/") == "200"
