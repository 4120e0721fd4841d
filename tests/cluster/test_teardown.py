"""Ending a cluster of which parts were killed, and starting one where such a cluster was left behind.

On a cluster with a number of its own, so that the one the other tests run on lives on.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import places
from cluster.control_groups import BASE

NUMBER = 100
TESTS = Path(__file__).parents[1]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cluster", *arguments],
        cwd=TESTS,
        env={**os.environ, "SLIPWAY_CLUSTER": str(NUMBER)},
        capture_output=True,
        text=True,
        timeout=100,
    )


def kill(name: str) -> None:
    pids = places.CACHE / f"state-{NUMBER}" / "pids"
    os.kill(int((pids / name).read_text().split()[0]), 9)


def processes() -> list[str]:
    """Processes that name the cluster's folder: found without what the cluster remembers of itself."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"state-{NUMBER}/" in (folder / "cmdline").read_text():
                found.append(folder.name)
        except OSError:  # gone meanwhile
            continue
    return found


@pytest.fixture
def broken(cluster: Path, own_cluster: bool) -> Iterator[None]:
    """A cluster of its own with its kubelet, containerd, API server and namespaces' keeper killed."""
    if not own_cluster:
        pytest.skip("KUBECONFIG names a cluster of somebody's own: nothing of it may be killed")
    started = command("up")
    assert started.returncode == 0, started.stderr
    for name in ("node-1-kubelet", "node-1-containerd", "kube-apiserver", "node-1"):
        kill(name)
    yield
    command("down")


@pytest.mark.usefixtures("broken")
def test_a_cluster_whose_parts_were_killed_ends_without_a_trace() -> None:
    ended = command("down")

    assert ended.returncode == 0, ended.stderr
    assert processes() == []
    assert not list(BASE.glob(f"**/slipway-cluster-{NUMBER}"))
    assert f"state-{NUMBER}" not in Path("/proc/self/mountinfo").read_text()
    assert not Path(f"/sys/class/net/slipway{NUMBER}").exists()


@pytest.mark.usefixtures("broken")
def test_a_cluster_starts_where_a_broken_one_was_left() -> None:
    started = command("up")

    assert started.returncode == 0, started.stderr
    assert "ending what is left" in started.stderr
    assert command("status").returncode == 0
