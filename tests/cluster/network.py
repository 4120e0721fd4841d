"""A node's namespaces, and the links between nodes and host.

    host ── slipway0 ─┐
                      ├─ bridge in node-1 (control plane) ── its pods, one link each
    node-2 ── uplink ─┘
    └─ its pods

There is no default route anywhere: pods reach each other, the nodes and the host, and nothing can leave. All
of it lives in the nodes' namespaces, so it goes with the last process that is in them.
"""

from pathlib import Path

from cluster.places import FIRST, HOST_ADDRESS, HOST_LINK, SERVICE_NETWORK, Node
from cluster.processes import ClusterError, enter, pid_of, run, start, wait

OWN_FOLDERS = (
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/pods",
    "/var/log/containers",
    "/run/containerd",
    "/run/netns",
)
"""Paths that are fixed in kubelet, containerd or CNI. Each node sees a folder of its own there."""


def create_node(node: Node, holder: Path) -> None:
    """Give a node its namespaces, kept by a process that does nothing else (`holder`), and its links."""
    mounts = ["mount --make-rshared /"]
    for place in OWN_FOLDERS:
        own = node.folder / "root" / place.strip("/")
        own.mkdir(parents=True)
        Path(place).mkdir(parents=True, exist_ok=True)
        # kubelet's mounts inside must reach containerd, and the other way round.
        mounts.append(f"mount --bind '{own}' {place}")
    ready = node.folder / "namespaces"
    script = " && ".join([*mounts, "mount --make-rshared /", f"touch '{ready}'", f"exec '{holder}'"])
    # Not private: what the host unmounts while the cluster runs must be let go here as well.
    start(node.name, ["unshare", "--mount", "--net", "--propagation=slave", "--", "sh", "-c", script])
    wait(f"the namespaces of {node.name}", ready.exists, 10)
    _link(node)


def holder_of(node: Node) -> int:
    """The process that keeps a node's namespaces. Raises ClusterError where it is gone."""
    if (pid := pid_of(node.name)) is None:
        raise ClusterError(f"{node.name} is not running. `make cluster` starts it anew.")
    return pid


def _link(node: Node) -> None:
    pid = str(holder_of(node))
    inside = enter(holder_of(node))

    def ip(*arguments: str) -> None:
        run(*inside, "ip", *arguments)

    # The last: connections that outlive their processes would keep the namespace for minutes.
    for setting in ("ip_forward=1", "conf.all.rp_filter=0", "tcp_orphan_retries=1"):
        run(*inside, "sysctl", "-qw", f"net.ipv4.{setting}")
    ip("link", "set", "lo", "up")
    device = "uplink"
    if node == FIRST:
        device = "nodes"
        ip("link", "add", device, "type", "bridge")
        run("ip", "link", "add", HOST_LINK, "type", "veth", "peer", "name", "host", "netns", pid)
        ip("link", "set", "host", "master", device, "up")
        run("ip", "address", "add", f"{HOST_ADDRESS}/24", "dev", HOST_LINK)
        run("ip", "link", "set", HOST_LINK, "up")
    else:
        first = enter(holder_of(FIRST))
        run(*first, "ip", "link", "add", node.name, "type", "veth", "peer", "name", device, "netns", pid)
        run(*first, "ip", "link", "set", node.name, "master", "nodes", "up")
    ip("address", "add", f"{node.address}/24", "dev", device)
    ip("link", "set", device, "up")
    # Without a route, the node itself would find a Service unreachable before kube-proxy could redirect it.
    ip("route", "add", SERVICE_NETWORK, "dev", device, "src", node.address)


def connect(nodes: list[Node]) -> None:
    """Tell every node by which neighbour the pods of each other one are reached."""
    for node in nodes:
        for other in nodes:
            if other != node:
                route = ["ip", "route", "replace", other.pods, "via", other.address]
                run(*enter(holder_of(node)), *route)
