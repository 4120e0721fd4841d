"""Manifests of everything that an LLMService has beside its pods' templates. Pure."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from slipway.kube.kinds import LEADER_WORKER_SET, POD_MONITOR
from slipway.objects import LLMService
from slipway_operator import names
from slipway_operator.pods import PORT, fetch_template, pod_template
from slipway_operator.settings import OperatorSettings

Manifest = dict[str, Any]


def revision_children(
    service: LLMService, revision: str, replicas: int, settings: OperatorSettings, parent: Mapping[str, Any]
) -> list[Manifest]:
    """What runs one revision: its pods, and the Service by whose slices gateways find them.

    `service` holds that revision's spec, `parent` is the object itself.
    """
    return [
        _group(service, revision, replicas, settings, parent)
        if spans_nodes(service)
        else _deployment(service, revision, replicas, settings, parent),
        _headless(service, revision, parent),
    ]


def spans_nodes(service: LLMService) -> bool:
    """Whether one replica of the model takes several pods."""
    return service.spec.engine.pipeline_parallel > 1


def shared_children(
    service: LLMService, settings: OperatorSettings, parent: Mapping[str, Any], optional: frozenset[str]
) -> list[Manifest]:
    """What all revisions share; `optional` are the plurals of kinds that only some clusters have."""
    name = service.metadata.name
    made = [
        _made("v1", "ServiceAccount", f"{name}-engine", parent) | {"automountServiceAccountToken": False},
        _service(name, parent),
        _made("policy/v1", "PodDisruptionBudget", name, parent)
        | {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": names.selector(name)}}},
        _policy(service, settings, parent),
    ]
    if spans_nodes(service):
        made.append(_workers_policy(name, parent))
    cache = service.spec.cache
    if cache.storage_class is not None:
        claim = {
            "accessModes": [cache.access_mode],
            "storageClassName": cache.storage_class,
            "resources": {"requests": {"storage": cache.size}},
        }
        made.append(_made("v1", "PersistentVolumeClaim", f"{name}-models", parent) | {"spec": claim})
    if POD_MONITOR.plural in optional:
        made.append(_monitor(name, settings, parent))
    return made


def adapters_map(
    service: LLMService, adapters: Iterable[Mapping[str, Any]], parent: Mapping[str, Any]
) -> Manifest:
    """The list of the adapters that FineTunes have brought, for engines that begin anew.

    Of those that running engines have taken alone: one that is refused would keep an engine from starting.
    """
    taken = {
        each["engineName"]: each["source"]
        for each in adapters
        if each["state"] == "Ready" and each.get("weight", 0) > 0
    }
    made = _made("v1", "ConfigMap", f"{service.metadata.name}-adapters", parent)
    return made | {"data": {"adapters.json": json.dumps(taken, sort_keys=True)}}


def fetch_job(service: LLMService, settings: OperatorSettings, parent: Mapping[str, Any]) -> Manifest | None:
    """The Job that brings the model into a shared cache; None where there is none."""
    if service.spec.cache.storage_class is None:
        return None
    template = fetch_template(service, settings)
    job = _made("batch/v1", "Job", fetch_name(service, template), parent)
    return job | {"spec": {"backoffLimit": 3, "template": template}}


def fetch_name(service: LLMService, template: Mapping[str, Any]) -> str:
    """A Job's template cannot be changed: one that differs gets a name of its own."""
    return f"{service.metadata.name}-fetch-{names.digest(template)[:8]}"


def _made(version: str, kind: str, name: str, parent: Mapping[str, Any], revision: str = "") -> Manifest:
    metadata = parent["metadata"]
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": names.labels(metadata["name"], revision or None),
            "ownerReferences": [names.owner(parent)],
        },
    }


def _deployment(
    service: LLMService, revision: str, replicas: int, settings: OperatorSettings, parent: Mapping[str, Any]
) -> Manifest:
    name = service.metadata.name
    deployment = _made("apps/v1", "Deployment", names.of_revision(name, revision), parent, revision)
    deployment["spec"] = {
        "replicas": replicas,
        "revisionHistoryLimit": 1,
        "progressDeadlineSeconds": max(60, round(service.spec.rollout.progress_deadline.seconds)),
        "selector": {"matchLabels": names.selector(name, revision)},
        # Within a revision pods differ only when the operator itself has learnt to make them otherwise.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": pod_template(service, revision, settings),
    }
    return deployment


def _group(
    service: LLMService, revision: str, replicas: int, settings: OperatorSettings, parent: Mapping[str, Any]
) -> Manifest:
    """A LeaderWorkerSet: each replica is a leader, which serves, and workers on further nodes."""
    name, nodes = service.metadata.name, service.spec.engine.pipeline_parallel
    leader = pod_template(service, revision, settings, nodes=nodes)
    container = leader["spec"]["containers"][0]
    container["args"] = [*container["args"], *_distributed(service, nodes, "$(LWS_WORKER_INDEX)")]
    worker = pod_template(service, revision, settings, nodes=nodes)
    follower = worker["spec"]["containers"][0]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe", "ports"):
        follower.pop(probe, None)  # Workers serve no HTTP.
    follower["args"] = [*follower["args"], *_distributed(service, nodes, "$(LWS_WORKER_INDEX)"), "--headless"]
    # Gateways must not see workers: their labels name no revision that a Service selects.
    worker["metadata"]["labels"] = {
        label: value
        for label, value in worker["metadata"]["labels"].items()
        if label not in (names.SERVICE, names.REVISION)
    } | {names.WORKER_OF: name}
    group = _made(
        f"{LEADER_WORKER_SET.group}/{LEADER_WORKER_SET.version}",
        LEADER_WORKER_SET.kind,
        names.of_revision(name, revision),
        parent,
        revision,
    )
    group["spec"] = {
        "replicas": replicas,
        "startupPolicy": "LeaderCreated",
        "leaderWorkerTemplate": {
            "size": nodes,
            "restartPolicy": "RecreateGroupOnPodRestart",
            "leaderTemplate": leader,
            "workerTemplate": worker,
        },
    }
    return group


def _distributed(service: LLMService, nodes: int, rank: str) -> list[str]:
    """vLLM's own flags for an engine over several nodes, after the runtime's others."""
    flags = ["--nnodes", str(nodes), "--node-rank", rank, "--master-addr", "$(LWS_LEADER_ADDRESS)"]
    return flags if service.spec.engine.args else ["--", *flags]


def _headless(service: LLMService, revision: str, parent: Mapping[str, Any]) -> Manifest:
    """Its slices, which carry its labels, are what gateways read."""
    name = service.metadata.name
    headless = _made("v1", "Service", names.of_revision(name, revision), parent, revision)
    headless["spec"] = {
        "clusterIP": "None",
        "selector": names.selector(name, revision),
        "ports": [{"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}],
    }
    return headless


def _service(name: str, parent: Mapping[str, Any]) -> Manifest:
    """All engines under one address, for people and tools in the cluster; gateways choose for themselves."""
    service = _made("v1", "Service", name, parent)
    # The slices of this one would show gateways every engine twice.
    service["metadata"]["labels"] = {
        label: value for label, value in service["metadata"]["labels"].items() if label != names.SERVICE
    } | {"slipway.dev/service-address": name}
    service["spec"] = {
        "selector": names.selector(name),
        "ports": [{"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}],
    }
    return service


def _policy(service: LLMService, settings: OperatorSettings, parent: Mapping[str, Any]) -> Manifest:
    """Gateways and operators reach engines, and the nodes of one replica each other; nobody else does."""
    name = service.metadata.name
    namespace = {"matchLabels": {"kubernetes.io/metadata.name": settings.namespace}}
    peers = [
        {"namespaceSelector": namespace, "podSelector": {"matchLabels": parsed(labels)}}
        for labels in (settings.gateway_selector, settings.operator_selector)
    ]
    policy = _made("networking.k8s.io/v1", "NetworkPolicy", f"{name}-engine", parent)
    policy["spec"] = {
        "podSelector": {"matchLabels": names.selector(name)},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": peers, "ports": [{"protocol": "TCP", "port": PORT}]}],
    }
    if spans_nodes(service):
        policy["spec"]["ingress"].append(_from_own(name))
    return policy


def _workers_policy(name: str, parent: Mapping[str, Any]) -> Manifest:
    """The other nodes of a replica are reached by nobody else."""
    policy = _made("networking.k8s.io/v1", "NetworkPolicy", f"{name}-workers", parent)
    policy["spec"] = {
        "podSelector": {"matchLabels": {names.WORKER_OF: name}},
        "policyTypes": ["Ingress"],
        "ingress": [_from_own(name)],
    }
    return policy


def _from_own(name: str) -> dict[str, Any]:
    own = ({names.SERVICE: name}, {names.WORKER_OF: name})
    return {"from": [{"podSelector": {"matchLabels": each}} for each in own]}


def _monitor(name: str, settings: OperatorSettings, parent: Mapping[str, Any]) -> Manifest:
    endpoint: dict[str, Any] = {"port": "http", "path": "/metrics", "interval": "15s"}
    if settings.engine_key_file is not None:
        key = {"name": settings.engine_key_secret, "key": "engine-key"}
        endpoint["authorization"] = {"type": "Bearer", "credentials": key}
    monitor = _made(f"{POD_MONITOR.group}/{POD_MONITOR.version}", POD_MONITOR.kind, name, parent)
    monitor["spec"] = {
        "selector": {"matchLabels": names.selector(name)},
        "podMetricsEndpoints": [endpoint],
        "podTargetLabels": [names.SERVICE, names.REVISION],
    }
    return monitor


def parsed(labels: str) -> dict[str, str]:
    """`k=v,k=v` as a mapping."""
    return dict(pair.split("=", 1) for pair in labels.split(",") if pair)
