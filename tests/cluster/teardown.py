"""Ending a cluster, whatever state it is in, and looking for what is left of it."""

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from cluster import control_groups
from cluster.network import OWN_FOLDERS
from cluster.nodes import ctr
from cluster.places import HOST_LINK, STATE, Node, running_nodes
from cluster.processes import ClusterError, pid_of, stop, wait

PATIENCE = 30
"""Seconds for the kernel to take processes down: a loaded engine gives back gigabytes."""


def take_down() -> list[str]:
    """End everything and remove the state folder. Returns what could not be removed, in words."""
    nodes = running_nodes()
    for node in nodes:
        stop(f"{node.name}-kubelet", patience=3)  # first, so that it starts nothing again
    for node in nodes:
        _end_pods(node)
        stop(f"{node.name}-containerd", patience=5)
    # The rest in no order: etcd's data goes with it.
    control_groups.kill()
    with suppress(ClusterError):  # what is still there afterwards is reported
        wait("the end of all processes", _nobody, PATIENCE)
    # By hand: connections that nobody has closed keep a namespace, and its links, for seconds yet.
    subprocess.run(["ip", "link", "delete", HOST_LINK], capture_output=True, check=False)
    control_groups.remove()
    for mount in _mounts():
        subprocess.run(["umount", "--lazy", mount], capture_output=True, check=False)
    if not _mounts():
        shutil.rmtree(STATE, ignore_errors=True)
    _remove_mount_points()
    return leftovers()


def leftovers() -> list[str]:
    """What is still there of a cluster, in words; nothing after a clean end."""
    found = [f"process {pid}: {_command(pid)}" for pid in sorted(control_groups.members())]
    found += [f"control group {group}" for group in control_groups.groups()]
    found += [f"mount {mount}" for mount in _mounts()]
    found += [f"network device {HOST_LINK}"] if _link().exists() else []
    found += [f"folder {STATE}"] if STATE.exists() else []
    return found


def _remove_mount_points() -> None:
    if control_groups.other_clusters():
        return  # a folder that goes takes along what others have mounted on it
    for place in OWN_FOLDERS:
        with suppress(OSError):  # somebody else's: it holds something
            Path(place).rmdir()


def _end_pods(node: Node) -> None:
    """Kill a node's containers and let containerd forget them, so that the next cluster finds none."""
    control_groups.kill(node.name)
    if pid_of(f"{node.name}-containerd") is None:
        return
    with suppress(ClusterError):  # the next start does it
        wait(f"the end of the pods of {node.name}", lambda: not control_groups.members(node.name), PATIENCE)
        if containers := ctr(node, "containers", "ls", "-q").split():
            ctr(node, "containers", "rm", *containers)


def _nobody() -> bool:
    control_groups.kill()
    return not control_groups.members()


def _link() -> Path:
    return Path("/sys/class/net") / HOST_LINK


def _mounts() -> list[str]:
    """Mounts of the cluster in the host's view, the deepest first. Those of its nodes are theirs alone."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    return sorted((point for point in points if Path(point).is_relative_to(STATE)), key=len, reverse=True)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")[:80]
    except OSError:
        return os.strerror(3)
