"""Where a cluster keeps what it is built from and what it runs with, and the addresses it has.

All of its addresses lie in 198.18.0.0/15, which is set apart for tests in closed networks (RFC 2544), so
they meet no network that the machine has.
"""

import os
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway" / "cluster"
"""What is built once. `make cluster-down` leaves it; to be rid of it, remove the folder."""
PROGRAMS, LAYOUT = CACHE / "programs", CACHE / "images"

NUMBER = int(os.environ.get("SLIPWAY_CLUSTER", "0"))
"""Which cluster, 0 to 127: several may run on one machine, and share what is built."""
_SUFFIX = f"-{NUMBER}" if NUMBER else ""
IMAGE_STORES, LOGS = CACHE / f"stores{_SUFFIX}", CACHE / f"logs{_SUFFIX}"
STATE = CACHE / f"state{_SUFFIX}"
"""What a running cluster writes. Each start makes it anew, each stop removes it; the logs stay."""
KUBECONFIG = STATE / "kubeconfig"
NAME = f"slipway-cluster{_SUFFIX}"
"""Its control group, and its context in the kubeconfig."""
HOST_LINK, HOST_ADDRESS = f"slipway{NUMBER}", f"198.18.{NUMBER}.1"
POD_NETWORK, SERVICE_NETWORK = "198.18.128.0/17", "198.19.0.0/16"
"""These exist inside the nodes' namespaces alone, so each cluster may have the same."""
API_SERVICE, DNS_SERVICE = "198.19.0.1", "198.19.0.10"
DOMAIN = "cluster.local"
MOST_NODES = 64


@dataclass(frozen=True)
class Node:
    """A node by its number, from 1. The first one's network namespace holds the control plane too."""

    number: int

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def address(self) -> str:
        return f"198.18.{NUMBER}.{10 + self.number}"

    @property
    def pods(self) -> str:
        """The subnet of its pods."""
        return f"198.18.{128 + self.number}.0/24"

    @property
    def folder(self) -> Path:
        return STATE / self.name

    @property
    def containerd(self) -> Path:
        """containerd's socket."""
        return self.folder / "containerd.sock"

    @property
    def volumes(self) -> Path:
        """Where its local persistent volumes lie."""
        return self.folder / "volumes"

    @property
    def image_store(self) -> Path:
        """containerd's own folder. It outlives the cluster, because unpacking an engine takes minutes."""
        return IMAGE_STORES / self.name


FIRST = Node(1)
API_SERVER = f"https://{FIRST.address}:6443"


def running_nodes() -> list[Node]:
    """The nodes that the state folder knows, whether they live or not."""
    numbers = sorted(int(folder.name.removeprefix("node-")) for folder in STATE.glob("node-*"))
    return [Node(number) for number in numbers]
