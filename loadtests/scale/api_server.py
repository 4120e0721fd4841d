"""The API server's side: what it counts of somebody's calls, and a somebody to be counted."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.kubectl import Kubectl
from slipway.kube.client import Client

WRITES = ("APPLY", "PATCH", "POST", "DELETE")
"""Not PUT: those are the controller manager's, of Deployments and PodDisruptionBudgets."""
KINDS = (
    "llmservices",
    "apikeys",
    "deployments",
    "services",
    "serviceaccounts",
    "poddisruptionbudgets",
    "networkpolicies",
    "secrets",
)
"""What only an operator applies, and hardly anybody else lists, here."""
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def make_identity(kubectl: Kubectl, namespace: str, name: str, folder: Path) -> Path:
    """A kubeconfig of a service account of its own, whose calls the API server counts apart.

    The count is that of a FlowSchema: the API server's own metrics name no user.
    """
    user = f"bench-{name}"
    kubectl.apply(
        namespace,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": user}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": user},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [{"kind": "ServiceAccount", "name": user, "namespace": namespace}],
        },
        _flow_schema(user, namespace),
    )
    token = kubectl("create", "token", user, f"--namespace={namespace}", "--duration=2h").strip()
    known = json.loads(kubectl("config", "view", "--raw", "--minify", "--output=json"))
    context = {"cluster": known["clusters"][0]["name"], "user": user, "namespace": namespace}
    known |= {
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": user, "context": context}],
        "current-context": user,
    }
    file = folder / f"{name}.kubeconfig"
    file.touch(mode=0o600)
    file.write_text(json.dumps(known))
    return file


def forget_identity(kubectl: Kubectl, name: str) -> None:
    """Remove what of it lies in no namespace."""
    for kind in ("flowschema", "clusterrolebinding"):
        kubectl("delete", kind, f"bench-{name}", "--ignore-not-found")


def _flow_schema(user: str, namespace: str) -> dict[str, Any]:
    anything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    return {
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": user},
        "spec": {
            "matchingPrecedence": 500,
            "priorityLevelConfiguration": {"name": "workload-high"},
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [
                {
                    "subjects": [
                        {"kind": "ServiceAccount", "serviceAccount": {"name": user, "namespace": namespace}}
                    ],
                    "resourceRules": [{**anything, "clusterScope": True, "namespaces": ["*"]}],
                    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                }
            ],
        },
    }


@dataclass(frozen=True, slots=True)
class Counts:
    """What the API server had counted at one moment."""

    total: int
    """Calls of the identity, watches as they begin."""
    verbs: Counter[str]
    """Calls by anybody, by verb, of the kinds that an operator looks after."""

    def since(self, before: "Counts") -> "Counts":
        """What came between two moments."""
        return Counts(self.total - before.total, self.verbs - before.verbs)

    @property
    def writes(self) -> int:
        """Calls that write."""
        return sum(count for verb, count in self.verbs.items() if verb in WRITES)


async def read_counts(client: Client, name: str) -> Counts:
    """Read the API server's metrics. Raises KubeError."""
    total, verbs = 0, Counter[str]()
    async with client.stream("/metrics", seconds=30) as lines:
        async for each in lines:
            line = each.decode()
            if line.startswith("apiserver_flowcontrol_dispatched_requests_total{"):
                labels, value = _parsed(line)
                total += value if labels["flow_schema"] == f"bench-{name}" else 0
            elif line.startswith("apiserver_request_total{"):
                labels, value = _parsed(line)
                if labels["resource"] in KINDS:
                    verbs[labels["verb"]] += value
    return Counts(total, verbs)


def _parsed(line: str) -> tuple[dict[str, str], int]:
    head, _, value = line.rpartition(" ")
    return dict(_LABEL.findall(head)), int(float(value))
