"""FineTunes of the fake training, and what is awaited of them."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from cluster.kubectl import Kubectl, KubectlError

Item = dict[str, Any]
KINDS = "jobs,pods,configmaps,services,deployments,networkpolicies,persistentvolumeclaims"


def fine_tune(name: str = "f", faults: Mapping[str, Any] | None = None, **spec: Any) -> Item:
    """A FineTune whose stages do what `faults` says (see fake_training.py)."""
    variable = {"name": "FAKE_TRAINING", "value": json.dumps(faults or {})}
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "FineTune",
        "metadata": {"name": name},
        "spec": {
            "baseModel": {"source": "hf://org/none"},
            "dataset": {"sources": [{"name": "s", "source": "hf://org/none"}]},
            "storage": {"size": "1Gi"},
            "podTemplate": {"spec": {"containers": [{"name": "training", "env": [variable]}]}},
            **spec,
        },
    }


def until(
    kubectl: Kubectl,
    namespace: str,
    done: Callable[[Item], object],
    name: str = "f",
    seconds: float = 90,
    kind: str = "finetune",
) -> Item:
    """Wait until `done` holds for the object."""
    end = time.monotonic() + seconds
    found: Item = {}
    while time.monotonic() < end:
        try:
            found = kubectl.get(namespace, kind, name)
        except KubectlError:
            found = {}
        if found and done(found):
            return found
        time.sleep(0.2)
    raise AssertionError(f"{name} is not as awaited after {seconds} s: {json.dumps(found.get('status'))}")


def phase(*phases: str) -> Callable[[Item], bool]:
    """Whether a FineTune of this generation is in one of these phases."""

    def holds(item: Item) -> bool:
        status = item.get("status", {})
        new = status.get("observedGeneration") == item["metadata"]["generation"]
        return new and status.get("phase") in phases

    return holds


def stage(item: Item, name: str) -> Item:
    """One of its stages; empty before it is known."""
    stages = item.get("status", {}).get("stages", ())
    return next((each for each in stages if each["name"] == name), {})


def running(name: str) -> Callable[[Item], bool]:
    """Whether this stage's container runs."""
    return lambda item: (
        stage(item, name).get("state") == "Running" and bool(stage(item, name).get("startedAt"))
    )


def attempts(item: Item) -> dict[str, int]:
    """How often each stage was begun."""
    return {each["name"]: each.get("attempts", 0) for each in item["status"]["stages"]}


def left(kubectl: Kubectl, namespace: str, name: str = "f") -> set[str]:
    """What is there of a FineTune."""
    found = kubectl(
        "get", KINDS, f"--namespace={namespace}", f"--selector=slipway.dev/fine-tune={name}", "--output=name"
    )
    return set(found.split())


def pod_of(kubectl: Kubectl, namespace: str, stage: str) -> str:
    """The pod of a stage's newest attempt."""
    pods = kubectl.get(namespace, "pods", f"--selector=slipway.dev/stage={stage}")["items"]
    newest = max(pods, key=lambda pod: int(pod["metadata"]["labels"]["slipway.dev/attempt"]))
    return str(newest["metadata"]["name"])
