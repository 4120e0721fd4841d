"""From nothing, or from something half dead, to a cluster whose nodes are ready."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cluster import images
from cluster.control_groups import create
from cluster.control_plane import COMPONENTS, apply_manifests, kubectl, prepare, ready, start_control_plane
from cluster.network import connect
from cluster.nodes import daemons, start_containerd, start_kubelet, wait_until_ready
from cluster.places import LOGS, Node, running_nodes
from cluster.processes import ClusterError, living
from cluster.programs import programs
from cluster.teardown import leftovers, take_down
from cluster.volumes import create_volumes


def start_cluster(count: int, say: Callable[[str], None]) -> None:
    """Have a cluster of at least `count` nodes. A healthy one is kept, anything else is ended first."""
    folder = programs()
    if healthy():
        have = len(running_nodes())
        _add([Node(number) for number in range(have + 1, count + 1)], folder, say)
        return
    if leftovers():
        say("ending what is left of an earlier cluster")
        if left := take_down():
            raise ClusterError("An earlier cluster cannot be removed:\n  " + "\n  ".join(left))
    shutil.rmtree(LOGS, ignore_errors=True)
    create("daemons")
    prepare()
    _add([Node(number) for number in range(1, count + 1)], folder, say)


def healthy() -> bool:
    """Whether every process of the cluster lives, and the API server answers."""
    nodes = running_nodes()
    names = [*COMPONENTS, *(daemon for node in nodes for daemon in daemons(node))]
    return bool(nodes) and living(names) and ready()


def _add(nodes: list[Node], folder: Path, say: Callable[[str], None]) -> None:
    if not nodes:
        return
    first = nodes[0].number == 1
    needed = [images.pause(folder), images.coredns(folder), images.base()]
    for image in needed:
        images.ensure(image, say)
    say("starting containerd" + (" and the control plane" if first else ""))
    for node in nodes:
        start_containerd(node, folder, needed[0].name)
    connect(running_nodes())
    with ThreadPoolExecutor() as pool:
        loads = [pool.submit(_load, node, needed) for node in nodes]
        if first:
            start_control_plane(folder)
        for load in loads:
            load.result()
    say("starting kubelet")
    for node in nodes:
        start_kubelet(node, folder)
        create_volumes(node, folder)
    if first:
        apply_manifests(folder)
    wait_until_ready(nodes, folder)
    if first:
        kubectl(folder, "rollout", "status", "deployment/coredns", "-n", "kube-system", "--timeout=60s")


def _load(node: Node, needed: list[images.Image]) -> None:
    # One after the other: a node's imports would wait for each other anyway.
    for image in needed:
        images.load(node, image.name)
