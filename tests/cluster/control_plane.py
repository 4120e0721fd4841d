"""etcd, API server, controller manager and scheduler, in the first node's network namespace."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from cluster.certificates import create_authority, issue, path, write_kubeconfig
from cluster.network import holder_of
from cluster.places import (
    API_SERVER,
    API_SERVICE,
    DOMAIN,
    FIRST,
    HERE,
    KUBECONFIG,
    POD_NETWORK,
    SERVICE_NETWORK,
    STATE,
)
from cluster.processes import enter, run, start, stop, wait

API = "kube-apiserver"
COMPONENTS = ("etcd", API, "kube-controller-manager", "kube-scheduler")
MASTERS = "system:masters"
ETCD = "http://127.0.0.1:2379"


def prepare() -> None:
    """Write certificates and kubeconfigs for everybody but the nodes."""
    create_authority()
    service = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{DOMAIN}",
    )
    hosts = (*service, "localhost", "127.0.0.1", API_SERVICE, FIRST.address)
    issue(API, API, hosts=hosts)
    issue("to-kubelet", "kube-apiserver-kubelet-client", MASTERS)
    issue("to-extension", "front-proxy-client")
    for file, name, group in (
        ("admin", "kubernetes-admin", MASTERS),
        ("kube-controller-manager", "system:kube-controller-manager", ""),
        ("kube-scheduler", "system:kube-scheduler", ""),
        ("kube-proxy", "system:kube-proxy", ""),
    ):
        issue(file, name, group)
        write_kubeconfig(STATE / f"{file}.kubeconfig", file)
    (STATE / "admin.kubeconfig").rename(KUBECONFIG)


def start_control_plane(programs: Path) -> None:
    """Start all of it and return when the API server answers."""
    _start("etcd", [programs / "etcd", *_etcd()])
    start_api_server(programs)
    for component, options in (
        ("kube-controller-manager", _controllers()),
        ("kube-scheduler", _scheduler()),
    ):
        _start(component, [programs / component, *options])


def start_api_server(programs: Path) -> None:
    _start(API, [programs / API, *_api_server()])
    wait("the API server", ready, 60)


def stop_api_server() -> None:
    """Stop the API server alone: the rest of the cluster, and its pods, go on without it."""
    stop(API, patience=5)


def ready() -> bool:
    """Whether the API server says that it is ready."""
    try:
        context = ssl.create_default_context(cafile=str(path("ca.crt")))
        context.load_cert_chain(path("to-kubelet.crt"), path("to-kubelet.key"))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(f"{API_SERVER}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:  # urllib's errors are OSErrors: refused, not ready yet
        return False


def kubectl(programs: Path, *arguments: str, input: bytes | None = None) -> str:
    """What kubectl prints, as the cluster's administrator."""
    return run(programs / "kubectl", f"--kubeconfig={KUBECONFIG}", *arguments, input=input)


def apply_manifests(programs: Path) -> None:
    """Create what every cluster has beyond Kubernetes itself: DNS and the class of volumes."""
    kubectl(programs, "apply", "--server-side", "-f", str(HERE / "manifests"))


def _start(name: str, command: Sequence[str | Path]) -> None:
    start(name, [*enter(holder_of(FIRST)), *command])


def _etcd() -> list[str]:
    peer = "http://127.0.0.1:2380"
    return [
        f"--data-dir={STATE / 'etcd'}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",  # what it holds does not outlive the cluster
    ]


def _api_server() -> list[str]:
    return [
        f"--etcd-servers={ETCD}",
        f"--advertise-address={FIRST.address}",
        "--secure-port=6443",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        f"--client-ca-file={path('ca.crt')}",
        f"--tls-cert-file={path(f'{API}.crt')}",
        f"--tls-private-key-file={path(f'{API}.key')}",
        f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
        f"--service-account-key-file={path('service-accounts.pub')}",
        f"--service-account-signing-key-file={path('service-accounts.key')}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--kubelet-client-certificate={path('to-kubelet.crt')}",
        f"--kubelet-client-key={path('to-kubelet.key')}",
        # Otherwise logs and exec look the node's name up in DNS.
        "--kubelet-preferred-address-types=InternalIP",
        # For API servers that extend this one, such as KEDA's metrics.
        f"--requestheader-client-ca-file={path('ca.crt')}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={path('to-extension.crt')}",
        f"--proxy-client-key-file={path('to-extension.key')}",
        "--enable-aggregator-routing=true",
    ]


def _controllers() -> list[str]:
    kubeconfig = STATE / "kube-controller-manager.kubeconfig"
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--cluster-cidr={POD_NETWORK}",
        f"--cluster-signing-cert-file={path('ca.crt')}",
        f"--cluster-signing-key-file={path('ca.key')}",
        f"--root-ca-file={path('ca.crt')}",
        f"--service-account-private-key-file={path('service-accounts.key')}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        # Tests stop the API server for a minute. That makes no node a lost one.
        "--node-monitor-grace-period=180s",
    ]


def _scheduler() -> list[str]:
    kubeconfig = STATE / "kube-scheduler.kubeconfig"
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--leader-elect=false",
    ]
