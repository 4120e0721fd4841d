"""Manifests of what a FineTune has: its volume, its Jobs, who may reach their pods. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.objects import FineTune
from slipway.objects.finetunes import Stage
from slipway_operator import names
from slipway_operator.children import parsed
from slipway_operator.finetunes.documents import digest, document
from slipway_operator.finetunes.pods import ARTIFACTS, PROGRESS, artifacts_pod, stage_pod
from slipway_operator.settings import OperatorSettings

Manifest = dict[str, Any]
NODES = "nodes"
_DEADLINED: tuple[Stage, ...] = ("search", "train")
_RENDEZVOUS = 29500
"""torchrun's own default."""


@dataclass(frozen=True, slots=True)
class Ends:
    """How the attempts in a row before one have ended."""

    interrupted: int = 0
    """Evicted, preempted, asked to stop: nothing of the stage's own fault."""
    crashed: int = 0

    @classmethod
    def of(cls, job: Mapping[str, Any]) -> "Ends":
        """As the Job of the attempt says."""
        text = (job["metadata"].get("annotations") or {}).get(names.ENDS)
        return cls(**json.loads(text)) if text else cls()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a stage."""

    stage: Stage
    number: int
    token: str
    """Digest of what the stage depends on."""
    retry: str = ""
    """The wish to do the stage again that this attempt fulfils."""
    ends: Ends = Ends()

    def job(self, fine_tune: str) -> str:
        """The name of its Job."""
        return f"{fine_tune}-{self.stage}-{self.number}"


def shared(fine_tune: FineTune, parent: Mapping[str, Any], settings: OperatorSettings) -> list[Manifest]:
    """What all stages have: a volume, unless one is named, and a wall around their pods."""
    made = [_policy(fine_tune, parent, settings)]
    storage = fine_tune.spec.storage
    if storage.claim is None:
        spec: dict[str, Any] = {
            "accessModes": [storage.access_mode],
            "resources": {"requests": {"storage": storage.size}},
        }
        if storage.storage_class is not None:
            spec["storageClassName"] = storage.storage_class
        made.append(_made("v1", "PersistentVolumeClaim", claim(fine_tune), parent) | {"spec": spec})
    if fine_tune.spec.nodes > 1:
        service = _made("v1", "Service", f"{fine_tune.metadata.name}-{NODES}", parent)
        service["spec"] = {
            "clusterIP": "None",
            # They look for each other before any of them is ready.
            "publishNotReadyAddresses": True,
            "selector": {names.FINE_TUNE: fine_tune.metadata.name, names.STAGE: "train"},
            "ports": [{"name": "rendezvous", "port": _RENDEZVOUS, "protocol": "TCP"}],
        }
        made.append(service)
    return made


def claim(fine_tune: FineTune) -> str:
    """The name of the claim with the workspace."""
    return fine_tune.spec.storage.claim or f"{fine_tune.metadata.name}-workspace"


def spec_name(fine_tune: FineTune, parent: Mapping[str, Any]) -> str:
    """The name of the ConfigMap with the FineTune as it is now: one that differs gets a name of its own."""
    return f"{fine_tune.metadata.name}-spec-{digest(document(parent))}"


def spec_map(fine_tune: FineTune, parent: Mapping[str, Any]) -> Manifest:
    """That ConfigMap."""
    made = _made("v1", "ConfigMap", spec_name(fine_tune, parent), parent)
    return made | {"immutable": True, "data": {"finetune.yaml": document(parent)}}


def stage_job(
    fine_tune: FineTune, attempt: Attempt, parent: Mapping[str, Any], settings: OperatorSettings
) -> Manifest:
    """The Job of an attempt; with several nodes an indexed one, whose pods find each other by torchrun."""
    name = fine_tune.metadata.name
    nodes = fine_tune.spec.nodes if attempt.stage == "train" else 1
    launcher = ["python", "-m"]
    template = stage_pod(fine_tune, attempt.stage, attempt.retry, spec_name(fine_tune, parent), settings)
    if nodes > 1:
        launcher = _torchrun(name, attempt, nodes, template)
        template["spec"]["subdomain"] = f"{name}-{NODES}"
    container = template["spec"]["containers"][0]
    container["command"] = [*launcher, *container["command"]]
    job = _attempt("batch/v1", "Job", attempt, parent)
    template["metadata"]["labels"] |= {names.ATTEMPT: str(attempt.number)}
    job["spec"] = {
        # The operator begins again itself: it knows whether that helps.
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "template": template,
    }
    if nodes > 1:
        job["spec"] |= {"completionMode": "Indexed", "completions": nodes, "parallelism": nodes}
    deadline = fine_tune.spec.deadline
    if deadline is not None and attempt.stage in _DEADLINED:
        job["spec"]["activeDeadlineSeconds"] = deadline.seconds
    return job


def _torchrun(name: str, attempt: Attempt, nodes: int, template: Manifest) -> list[str]:
    """The launcher of one of several nodes. Its index is in a variable that the Job's controller sets."""
    limits = template["spec"]["containers"][0].get("resources", {}).get("limits", {})
    devices = next((value for resource, value in limits.items() if "gpu" in resource), "1")
    first = f"{attempt.job(name)}-0.{name}-{NODES}"
    return [
        "torchrun", f"--nnodes={nodes}", f"--nproc-per-node={devices}", "--node-rank=$(JOB_COMPLETION_INDEX)",
        f"--master-addr={first}", f"--master-port={_RENDEZVOUS}", "-m",
    ]  # fmt: skip


def train_job(
    fine_tune: FineTune, attempt: Attempt, parent: Mapping[str, Any], settings: OperatorSettings
) -> list[Manifest]:
    """The same for Kubeflow's Trainer: a runtime with the pod's template, and a TrainJob of it."""
    name, nodes = fine_tune.metadata.name, fine_tune.spec.nodes
    template = stage_pod(fine_tune, attempt.stage, attempt.retry, spec_name(fine_tune, parent), settings)
    container = template["spec"]["containers"][0]
    # The Trainer looks for a container of this name, and tells torchrun the rest by variables.
    container |= {"name": "node", "command": ["torchrun", "-m", *container["command"]]}
    template["metadata"]["labels"] |= {names.ATTEMPT: str(attempt.number)}
    job = {
        "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
        "spec": {"backoffLimit": 0, "template": template},
    }
    runtime = _attempt("trainer.kubeflow.org/v1alpha1", "TrainingRuntime", attempt, parent)
    runtime["spec"] = {
        "mlPolicy": {"numNodes": nodes, "torch": {}},
        "template": {"spec": {"replicatedJobs": [{"name": "node", "replicas": 1, "template": job}]}},
    }
    train = _attempt("trainer.kubeflow.org/v1alpha1", "TrainJob", attempt, parent)
    reference = {
        "apiGroup": "trainer.kubeflow.org", "kind": "TrainingRuntime", "name": attempt.job(name),
    }  # fmt: skip
    train["spec"] = {"runtimeRef": reference, "trainer": {"numNodes": nodes}}
    return [runtime, train]


def _attempt(version: str, kind: str, attempt: Attempt, parent: Mapping[str, Any]) -> Manifest:
    made = _made(version, kind, attempt.job(parent["metadata"]["name"]), parent)
    made["metadata"]["labels"] |= {
        names.STAGE: attempt.stage, names.ATTEMPT: str(attempt.number), names.TOKEN: attempt.token,
    }  # fmt: skip
    ends = {"interrupted": attempt.ends.interrupted, "crashed": attempt.ends.crashed}
    made["metadata"]["annotations"] = {names.ENDS: json.dumps(ends)}
    return made


def artifact_server(
    fine_tune: FineTune, parent: Mapping[str, Any], settings: OperatorSettings
) -> list[Manifest]:
    """What hands finished artifacts to engines: the volume's registry, read-only."""
    name = fine_tune.metadata.name
    labels = {names.ARTIFACTS: name}
    deployment = _made("apps/v1", "Deployment", f"{name}-artifacts", parent)
    deployment["spec"] = {
        "replicas": 1,
        "revisionHistoryLimit": 1,
        "selector": {"matchLabels": labels},
        # Two pods on two nodes could not both have the volume.
        "strategy": {"type": "Recreate"},
        "template": artifacts_pod(fine_tune, claim(fine_tune), settings),
    }
    service = _made("v1", "Service", f"{name}-artifacts", parent)
    service["spec"] = {
        "selector": labels,
        "ports": [{"name": "http", "port": ARTIFACTS, "targetPort": "http", "protocol": "TCP"}],
    }
    policy = _made("networking.k8s.io/v1", "NetworkPolicy", f"{name}-artifacts", parent)
    engines = {"podSelector": {"matchExpressions": [{"key": names.SERVICE, "operator": "Exists"}]}}
    policy["spec"] = {
        "podSelector": {"matchLabels": labels},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [engines], "ports": [{"protocol": "TCP", "port": ARTIFACTS}]}],
    }
    return [deployment, service, policy]


def artifact_source(fine_tune: FineTune, artifact: str, version: str, digest: str, uri: str) -> str:
    """Where engines find a version: in the bucket that it was copied to, or at the FineTune's own server."""
    if fine_tune.spec.storage.artifacts is not None:
        return uri
    metadata = fine_tune.metadata
    host = f"{metadata.name}-artifacts.{metadata.namespace}.svc:{ARTIFACTS}"
    return f"registry+http://{host}/{artifact}/{version}" + (f"@{digest}" if digest else "")


def _policy(fine_tune: FineTune, parent: Mapping[str, Any], settings: OperatorSettings) -> Manifest:
    """Operators read progress, and the nodes of a training reach each other; nobody else reaches the pods."""
    name = fine_tune.metadata.name
    operators = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.namespace}},
        "podSelector": {"matchLabels": parsed(settings.operator_selector)},
    }
    pods = {
        "matchLabels": {names.FINE_TUNE: name},
        "matchExpressions": [{"key": names.STAGE, "operator": "Exists"}],
    }
    policy = _made("networking.k8s.io/v1", "NetworkPolicy", f"{name}-training", parent)
    policy["spec"] = {
        "podSelector": pods,
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [operators], "ports": [{"protocol": "TCP", "port": PROGRESS}]}],
    }
    if fine_tune.spec.nodes > 1:
        policy["spec"]["ingress"].append({"from": [{"podSelector": pods}]})
    return policy


def _made(version: str, kind: str, name: str, parent: Mapping[str, Any]) -> Manifest:
    metadata = parent["metadata"]
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": names.of_fine_tune(metadata["name"]),
            "ownerReferences": [names.owner(parent)],
        },
    }
