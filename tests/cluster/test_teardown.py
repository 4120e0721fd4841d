"""Ending a cluster of which parts were killed, and starting one where such a cluster was left behind.

On a cluster with a number of its own, so that the one the other tests run on lives on.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.another import Another
from cluster.control_groups import BASE

CLUSTER = Another(100)


def processes() -> list[str]:
    """Processes that name the cluster's folder: found without what the cluster remembers of itself."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{CLUSTER.state}/" in (folder / "cmdline").read_text():
                found.append(folder.name)
        except OSError:  # gone meanwhile
            continue
    return found


@pytest.fixture
def broken(cluster: Path, own_cluster: bool) -> Iterator[None]:
    """A cluster of its own with its kubelet, containerd, API server and namespaces' keeper killed."""
    if not own_cluster:
        pytest.skip("KUBECONFIG names a cluster of somebody's own: nothing of it may be killed")
    started = CLUSTER.command("up")
    assert started.returncode == 0, started.stderr
    for name in ("node-1-kubelet", "node-1-containerd", "kube-apiserver", "node-1"):
        CLUSTER.kill(name)
    yield
    CLUSTER.command("down")


@pytest.mark.usefixtures("broken")
def test_a_cluster_whose_parts_were_killed_ends_without_a_trace() -> None:
    ended = CLUSTER.command("down")

    assert ended.returncode == 0, ended.stderr
    assert processes() == []
    assert not list(BASE.glob(f"**/slipway-cluster-{CLUSTER.number}"))
    assert str(CLUSTER.state) not in Path("/proc/self/mountinfo").read_text()
    assert not Path(f"/sys/class/net/slipway{CLUSTER.number}").exists()


@pytest.mark.usefixtures("broken")
def test_a_cluster_starts_where_a_broken_one_was_left() -> None:
    started = CLUSTER.command("up")

    assert started.returncode == 0, started.stderr
    assert "ending what is left" in started.stderr
    assert CLUSTER.command("status").returncode == 0
