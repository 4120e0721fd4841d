"""An operator killed before any write leaves what another brings to the same end; nothing is run twice."""

import asyncio
from functools import partial
from typing import Any

import pytest

from cluster.convergence import bare
from cluster.finetunes.conftest import in_background
from cluster.finetunes.objects import KINDS, attempts, fine_tune, left, phase, until
from cluster.kubectl import Kubectl
from cluster.programs import programs
from cluster.volumes import renew_volumes
from slipway.kube.config import Connection

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(1500),
]
ONCE = dict.fromkeys(["prepare", "train", "evaluate", "register"], 1)


def state(kubectl: Kubectl, namespace: str) -> dict[str, Any]:
    """What is there of the FineTune, comparable."""
    selector = "--selector=slipway.dev/fine-tune=f"
    found = {}
    for item in kubectl.get(namespace, KINDS, selector)["items"]:
        if item["kind"] != "Pod":
            metadata = item["metadata"]
            labels, annotations = metadata["labels"], metadata.get("annotations", {})
            own = {name: value for name, value in annotations.items() if name.startswith("slipway.dev/")}
            spec = {} if item["kind"] == "PersistentVolumeClaim" else item.get("spec", {})
            spec.pop("selector", None)  # A Job's holds its uid.
            spec.get("template", {}).get("metadata", {}).pop("labels", None)
            found[f"{item['kind']}/{metadata['name']}"] = bare([labels, own, spec], namespace)
    return found


def _over(killed: asyncio.Event, found: dict[str, Any]) -> bool:
    return killed.is_set() or phase("Succeeded")(found)


def test_killed_before_any_write_it_comes_to_the_same_end(
    kubectl: Kubectl,
    own_cluster: bool,
    namespace: str,
    connection: Connection,
    definitions: None,
    quick: dict[str, Any],
) -> None:
    item = fine_tune(faults={stage: {"steps": 1} for stage in ONCE})
    kubectl.apply(namespace, item)
    with in_background(connection, namespace, **quick) as running:
        until(kubectl, namespace, phase("Succeeded"))
        writes = running.client.writes
    expected = state(kubectl, namespace)
    assert len(expected) == 6
    for lives in range(1, writes + 1):
        kubectl("delete", "finetune", "f", f"--namespace={namespace}", "--cascade=foreground")
        assert left(kubectl, namespace) == set()
        if own_cluster:
            renew_volumes(programs())  # There are sixteen.
        kubectl.apply(namespace, item)
        with in_background(connection, namespace, lives=lives, **quick) as running:
            killed = running.client.killed
            assert killed is not None
            until(kubectl, namespace, partial(_over, killed))
        with in_background(connection, namespace, **quick):
            found = until(kubectl, namespace, phase("Succeeded"))
        assert attempts(found) == ONCE, f"killed before write {lives}"
        assert state(kubectl, namespace) == expected, f"killed before write {lives}"
