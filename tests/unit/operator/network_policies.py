"""What NetworkPolicies let through, as networking.k8s.io/v1 defines it; for what these policies use of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Endpoint:
    """A pod: where it is, and its labels."""

    namespace: str
    labels: Mapping[str, str]


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector does; an empty one selects all."""
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    wanted: Mapping[str, str] = selector.get("matchLabels", {})
    there = selector.get("matchExpressions", ())
    assert all(each["operator"] == "Exists" for each in there)
    return wanted.items() <= labels.items() and all(each["key"] in labels for each in there)


def lets_in(policies: Sequence[Mapping[str, Any]], source: Endpoint, target: Endpoint, port: int) -> bool:
    """Whether `source` reaches a TCP port of `target`: a pod that no policy selects is open to all."""
    on = [
        policy["spec"]
        for policy in policies
        if policy["metadata"]["namespace"] == target.namespace
        and "Ingress" in policy["spec"]["policyTypes"]
        and selects(policy["spec"]["podSelector"], target.labels)
    ]
    rules = [rule for spec in on for rule in spec.get("ingress", ())]
    return not on or any(
        _ports(rule, port) and any(_peer(peer, source, target.namespace) for peer in rule["from"])
        for rule in rules
    )


def _ports(rule: Mapping[str, Any], port: int) -> bool:
    return "ports" not in rule or any(
        each["port"] == port and each.get("protocol", "TCP") == "TCP" for each in rule["ports"]
    )


def _peer(peer: Mapping[str, Any], source: Endpoint, namespace: str) -> bool:
    if "namespaceSelector" in peer:
        # The API server puts this label on every namespace.
        if not selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": source.namespace}):
            return False
    elif source.namespace != namespace:
        return False
    return selects(peer.get("podSelector", {}), source.labels)
