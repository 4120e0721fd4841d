"""A second node: joined while the first one runs, and reached from it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import images
from cluster.another import Another
from cluster.pods import fetch, pod, service

CLUSTER = Another(101)
NAMESPACE = "default"


@pytest.fixture
def two_nodes(cluster: Path, own_cluster: bool) -> Iterator[Another]:
    if not own_cluster:
        pytest.skip("KUBECONFIG names a cluster of somebody's own, which has the nodes it has")
    for count in ("1", "2"):
        started = CLUSTER.command("up", "--nodes", count)
        assert started.returncode == 0, started.stderr
    yield CLUSTER
    CLUSTER.command("down")


def test_a_second_node_joins_and_pods_reach_each_other_and_their_services_across_both(
    two_nodes: Another,
) -> None:
    kubectl, image = two_nodes.kubectl, images.base().name
    kubectl.apply(NAMESPACE, pod("one", image, nodeName="node-1"), service("one"))
    kubectl.apply(NAMESPACE, pod("two", image, nodeName="node-2"), service("two"))
    kubectl.wait(NAMESPACE, "condition=Ready", "pod/one", "pod/two")

    assert fetch(kubectl, NAMESPACE, "one", "http://two.default/") == "200"
    assert fetch(kubectl, NAMESPACE, "two", "http://one.default/") == "200"
    assert "GET / " in kubectl("logs", "--namespace", NAMESPACE, "two")
