"""Persistent volumes of the class `local`: folders on each node, ready to be claimed."""

import json
import shutil
from pathlib import Path
from typing import Any

from cluster.control_plane import kubectl
from cluster.places import Node, running_nodes

EACH = 16
"""How many a node has."""
SIZE = "20Gi"
"""What each says that it holds. Nothing enforces it."""


def create_volumes(node: Node, programs: Path) -> None:
    """Make a node's volumes. Those that exist already stay as they are."""
    objects = []
    for number in range(EACH):
        folder = node.volumes / str(number)
        folder.mkdir(exist_ok=True)
        objects.append(_volume(node, number, folder))
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    kubectl(programs, "apply", "--server-side", "-f", "-", input=json.dumps(listed).encode())


def renew_volumes(programs: Path) -> None:
    """Empty the volumes whose claims are gone, and offer them again: nobody else does that for folders."""
    listed = json.loads(kubectl(programs, "get", "persistentvolumes", "-o", "json"))
    released = {
        item["metadata"]["name"] for item in listed["items"] if item["status"].get("phase") == "Released"
    }
    for node in running_nodes():
        for number in range(EACH):
            if (name := _name(node, number)) in released:
                shutil.rmtree(node.volumes / str(number))
                (node.volumes / str(number)).mkdir()
                # A merge, which takes it well where the reference is gone and the phase not yet told.
                free = '{"spec": {"claimRef": null}}'
                kubectl(programs, "patch", "persistentvolume", name, "--type=merge", f"--patch={free}")


def _name(node: Node, number: int) -> str:
    return f"{node.name}-{number}"


def _volume(node: Node, number: int, folder: Path) -> dict[str, Any]:
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": _name(node, number)},
        "spec": {
            "capacity": {"storage": SIZE},
            "accessModes": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "local",
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
