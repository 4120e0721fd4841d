"""A node: containerd, kubelet and kube-proxy in namespaces of their own."""

import json
from pathlib import Path

from cluster.certificates import issue, path, write_kubeconfig
from cluster.control_groups import create
from cluster.control_plane import kubectl
from cluster.network import create_node, holder_of
from cluster.places import DNS_SERVICE, DOMAIN, NAME, POD_NETWORK, STATE, Node
from cluster.processes import ClusterError, enter, run, start, stop, wait

CNI_PROGRAMS = "/usr/lib/cni"


def start_containerd(node: Node, programs: Path, pause: str) -> None:
    """Give a node its namespaces and containerd. No control plane is needed yet."""
    node.folder.mkdir()
    create(node.name)
    create_node(node, programs / "pause")
    cni = node.folder / "cni"
    cni.mkdir()
    (cni / "pods.conflist").write_text(json.dumps(_pod_network(node)))
    (node.folder / "containerd.toml").write_text(_containerd(node, pause))
    _start_containerd(node)
    if left := ctr(node, "containers", "ls", "-q").split():
        # A cluster that was cut off left them. containerd knows them from its start, so it starts again.
        ctr(node, "containers", "rm", *left)
        stop(f"{node.name}-containerd")
        _start_containerd(node)


def start_kubelet(node: Node, programs: Path) -> None:
    """Start what joins a node to the control plane. Its images must be there already."""
    user = f"system:node:{node.name}"
    issue(node.name, user, "system:nodes")
    write_kubeconfig(node.folder / "kubelet.kubeconfig", node.name)
    node.volumes.mkdir()
    kubelet, proxy = node.folder / "kubelet.json", node.folder / "kube-proxy.json"
    kubelet.write_text(json.dumps(_kubelet(node)))
    proxy.write_text(json.dumps(_kube_proxy(node)))
    inside = enter(holder_of(node), mounts=True)
    options = [f"--config={kubelet}", f"--kubeconfig={node.folder / 'kubelet.kubeconfig'}"]
    names = [f"--hostname-override={node.name}", f"--node-ip={node.address}"]
    start(f"{node.name}-kubelet", [*inside, programs / "kubelet", *options, *names])
    start(f"{node.name}-kube-proxy", [*inside, programs / "kube-proxy", f"--config={proxy}"])


def daemons(node: Node) -> list[str]:
    return [node.name, *(f"{node.name}-{part}" for part in ("containerd", "kubelet", "kube-proxy"))]


def ctr(node: Node, *arguments: str | Path, input: bytes | None = None) -> str:
    """What containerd's own client prints, in the namespace that kubelet uses."""
    return run("ctr", f"--address={node.containerd}", "--namespace=k8s.io", *arguments, input=input)


def wait_until_ready(nodes: list[Node], programs: Path) -> None:
    names = [node.name for node in nodes]

    def registered() -> bool:
        return set(names) <= set(kubectl(programs, "get", "nodes", "-o", "name").replace("node/", "").split())

    wait(f"{', '.join(names)} in the cluster", registered, 60)
    kubectl(programs, "wait", "--for=condition=Ready", "--timeout=60s", "node", *names)


def _start_containerd(node: Node) -> None:
    inside = enter(holder_of(node), mounts=True)
    config = f"--config={node.folder / 'containerd.toml'}"
    start(f"{node.name}-containerd", [*inside, "containerd", config])

    def serving() -> bool:
        try:
            return bool(node.containerd.exists() and ctr(node, "version"))
        except ClusterError:
            return False

    wait(f"containerd of {node.name}", serving, 30)


def _pod_network(node: Node) -> dict[str, object]:
    # Point to point rather than a bridge: then each packet is routed, and an answer passes where its
    # question was redirected to a Service, without the kernel's module for bridges.
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": node.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins = [
        {"type": "ptp", "ipam": addresses},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}


def _containerd(node: Node, pause: str) -> str:
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE no process may protect itself from the kernel's killer,
    # and every pod would fail for trying.
    return f"""\
version = 2
root = "{node.image_store}"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
address = "{node.containerd}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_PROGRAMS}"
conf_dir = "{node.folder / "cni"}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def _kubelet(node: Node) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(path("ca.crt"))},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": DOMAIN,
        "resolvConf": "",  # the host's resolver is out of reach
        "containerRuntimeEndpoint": f"unix://{node.containerd}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{NAME}/{node.name}",
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        # Images come from `load` and from nowhere else: none may be thrown away.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "configMapAndSecretChangeDetectionStrategy": "Watch",
    }


def _kube_proxy(node: Node) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(STATE / "kube-proxy.kubeconfig")},
        "clusterCIDR": POD_NETWORK,
        "mode": "iptables",
        "hostnameOverride": node.name,
        # The limits on connections are the host's, and not ours to set.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
