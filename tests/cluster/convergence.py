"""What an operator makes of a service and a key, comparable between two ways that led there."""

import asyncio
import copy
import json
from collections.abc import Callable
from typing import Any

from cluster.installation import condition, key, service
from cluster.kubectl import Kubectl
from cluster.operators import Running

KINDS = (
    "llmservices,apikeys,deployments,services,serviceaccounts,poddisruptionbudgets,networkpolicies,"
    "secrets,persistentvolumeclaims,jobs"
)
_MADE_UP = (
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "lastTransitionTime",
    "observedGeneration",
    "deployedAt",
    "createdAt",
    "startedAt",
    "stepStartedAt",
    "clusterIP",
    "clusterIPs",
    "keyHash",
    "key",
    "status-of-deployment",
    "deployment.kubernetes.io/revision",
    "slipway.dev/applied",
)
"""Fields that differ between two objects that are alike."""


async def until(kubectl: Kubectl, namespace: str, done: Callable[[dict[str, Any]], object], what: str) -> Any:
    """Wait until the LLMService `m` is so."""
    found: dict[str, Any] = {}
    for _ in range(300):
        found = await asyncio.to_thread(kubectl.get, namespace, "llmservice", "m")
        if done(found):
            return found
        await asyncio.sleep(0.2)
    raise AssertionError(f"{what} did not happen: {json.dumps(found.get('status'))}")


def settled(found: dict[str, Any]) -> bool:
    status = found.get("status", {})
    return bool(
        status.get("observedGeneration") == found["metadata"]["generation"]
        and status.get("rollout", {}).get("phase") == "Complete"
        and condition(found, "Ready").get("status") == "True"
    )


def bare(value: Any, namespace: str) -> Any:
    """Without what differs each time."""
    if isinstance(value, dict):
        return {name: bare(each, namespace) for name, each in sorted(value.items()) if name not in _MADE_UP}
    if isinstance(value, list):
        return [bare(each, namespace) for each in value]
    return value.replace(namespace, "NAMESPACE") if isinstance(value, str) else value


def state(kubectl: Kubectl, namespace: str) -> dict[str, Any]:
    """Everything in the namespace, comparable; of children of Slipway's the spec alone."""
    found = {}
    for item in copy.deepcopy(kubectl.get(namespace, KINDS)["items"]):
        if item["metadata"]["name"] in ("default", "kube-root-ca.crt"):
            continue
        if item["kind"] not in ("LLMService", "APIKey"):
            item.pop("status", None)
        found[f"{item['kind']}/{item['metadata']['name']}"] = bare(item, namespace)
    return found


async def turned(running: Running, kind: str) -> None:
    """Wait until the operator has had a turn over an object of `kind`."""
    labels = {"kind": kind, "outcome": "ok"}
    name = "slipway_operator_reconciles_total"
    while not running.operator.metrics.registry.get_sample_value(name, labels):  # noqa: ASYNC110
        await asyncio.sleep(0.05)


QUICK = {"analysis": {"interval": "1s", "failureLimit": 1}}
AT_ONCE = {
    "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "engine", "lifecycle": {"preStop": {"sleep": {"seconds": 0}}}}],
    }
}
"""Nobody asks these engines, so none has anything to finish."""


def model(says: str) -> dict[str, Any]:
    item = service("m", f"--say={says}", rollout=QUICK)
    item["spec"]["engine"]["podTemplate"] = AT_ONCE
    return item


OBJECTS, CHANGED = (model("one"), key("k")), model("two")


def alone(found: dict[str, Any]) -> bool:
    """Whether one replica is left, and nothing is on its way out any more."""
    status = found["status"]
    return bool(status["replicas"] == 1 and not status["rollout"].get("leaving"))


def one_revision(kubectl: Kubectl, namespace: str) -> bool:
    """Whether the old revision has gone."""
    return len(kubectl.get(namespace, "deployments")["items"]) == 1


def because(kind: str, reason: str) -> Callable[[dict[str, Any]], bool]:
    """Whether an object's condition has that reason."""
    return lambda found: bool(condition(found, kind).get("reason") == reason)
