"""The pods of a FineTune, under Pod Security `restricted` and without rights at the API server."""

from typing import Any

from slipway.objects import FineTune
from slipway.objects.finetunes import Stage
from slipway_operator import names
from slipway_operator.finetunes.documents import CLAIMS, claims
from slipway_operator.merging import merge
from slipway_operator.pod_states import Mends
from slipway_operator.pods import HOME, UNPRIVILEGED, restricted_pod
from slipway_operator.settings import OperatorSettings

CONTAINER = "training"
WORKSPACE = "/workspace"
PROGRESS = 9091
"""Port at which a stage tells how far it is."""
ARTIFACTS = 8002
"""Port at which artifacts are handed to engines."""
_KEYS = "/etc/slipway-engine"
GRACE = 120
"""Seconds that a stage may take to its next checkpoint when it is asked to stop."""
_COMPUTING: tuple[Stage, ...] = ("search", "train", "evaluate")
"""Stages that need a device."""

MENDS = Mends(
    volume="Check the claim with `kubectl describe pvc`, and spec.storage: storageClass, size, accessMode; "
    "several nodes need ReadWriteMany.",
    room="Ask for less in spec.resources, add nodes, or let the pods tolerate the nodes' taints "
    "(spec.podTemplate).",
    image="Check spec.image, and imagePullSecrets in spec.podTemplate.",
    memory="Raise spec.resources.limits.memory, or lower hyperparameters.microBatchSize.",
    quota="Raise the ResourceQuota, or ask for less in spec.resources.",
    security="Change spec.podTemplate, or the namespace's Pod Security level.",
    webhook="Change spec.podTemplate so that the webhook agrees.",
)


def stage_pod(
    fine_tune: FineTune, stage: Stage, retry: str, spec_map: str, settings: OperatorSettings
) -> dict[str, Any]:
    """The template of a stage's pods; its command is the module to run and what follows it."""
    name, spec = fine_tune.metadata.name, fine_tune.spec
    command = ["slipway.training", stage, "--workspace", WORKSPACE, "--run", name]
    command += ["--fine-tune", "/etc/slipway/finetune.yaml", "--serve-progress", str(PROGRESS)]
    command += ["--termination-log", "/dev/termination-log"]
    if retry:
        command += ["--redo", retry]
    container: dict[str, Any] = {
        **_container(fine_tune, settings),
        "command": command,
        "ports": [{"name": "progress", "containerPort": PROGRESS, "protocol": "TCP"}],
    }
    container["volumeMounts"] += [
        {"name": "workspace", "mountPath": WORKSPACE},
        {"name": "spec", "mountPath": "/etc/slipway", "readOnly": True},
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - a volume of the pod's own
    ]
    resources = _resources(fine_tune, stage)
    if resources:
        container["resources"] = resources
    volumes: list[dict[str, Any]] = [
        _workspace(spec.storage.claim or f"{name}-workspace"),
        {"name": "spec", "configMap": {"name": spec_map}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ]
    for index, claim in enumerate(claims(spec.model_dump(mode="json"))):
        mount = {"name": f"claim-{index}", "mountPath": f"{CLAIMS}/{claim}", "readOnly": True}
        container["volumeMounts"].append(mount)
        source = {"claimName": claim, "readOnly": True}
        volumes.append({"name": f"claim-{index}", "persistentVolumeClaim": source})
    labels = {**names.of_fine_tune(name), names.STAGE: stage}
    template = {
        "metadata": {"labels": labels},
        "spec": {
            **_pod(fine_tune, settings, volumes),
            "containers": [container],
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": GRACE,
        },
    }
    if spec.pod_template:
        template = merge(template, spec.pod_template)
    metadata = template.get("metadata") or {}
    return {**template, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}}


def artifacts_pod(fine_tune: FineTune, claim: str, settings: OperatorSettings) -> dict[str, Any]:
    """The template of the pod that serves a FineTune's registry."""
    name = fine_tune.metadata.name
    container = {
        **_container(fine_tune, settings),
        "name": "artifacts",
        "command": ["python", "-m", "slipway.training.registry", "serve", *_serving()],
        "ports": [{"name": "http", "containerPort": ARTIFACTS, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
    }
    container["volumeMounts"] += [
        {"name": "workspace", "mountPath": WORKSPACE, "readOnly": True},
        {"name": "engine-key", "mountPath": _KEYS, "readOnly": True},
    ]
    placing = {
        field: value
        for field, value in (fine_tune.spec.pod_template or {}).get("spec", {}).items()
        if field in ("nodeSelector", "tolerations", "affinity", "imagePullSecrets")
    }
    key = {
        "secretName": settings.engine_key_secret,
        "defaultMode": 0o440,
        "items": [{"key": "engine-key", "path": "engine-key"}],
    }
    volumes: list[dict[str, Any]] = [_workspace(claim), {"name": "engine-key", "secret": key}]
    spec = {**_pod(fine_tune, settings, volumes), "containers": [container]}
    labels = {**names.of_fine_tune(name), names.ARTIFACTS: name}
    return {"metadata": {"labels": labels}, "spec": merge(spec, placing)}


def _serving() -> list[str]:
    """Engines alone read: they show what they derive from their key."""
    where = ["--root", f"{WORKSPACE}/registry", "--host", "0.0.0.0", "--port", str(ARTIFACTS)]  # noqa: S104
    return [*where, "--engine-key-file", f"{_KEYS}/engine-key"]


def _workspace(claim: str) -> dict[str, Any]:
    return {"name": "workspace", "persistentVolumeClaim": {"claimName": claim}}


def _container(fine_tune: FineTune, settings: OperatorSettings) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": fine_tune.spec.image or settings.training_image,
        "imagePullPolicy": settings.image_pull_policy,
        "env": [
            # Base models are fetched once for all stages and attempts.
            {"name": "SLIPWAY_CACHE", "value": f"{WORKSPACE}/cache"},
            {"name": "HF_HOME", "value": f"{WORKSPACE}/cache/huggingface"},
        ],
        "volumeMounts": [
            {"name": "home", "mountPath": HOME},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
        ],
        # The outcome of a stage; of one that crashed the end of its log.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": UNPRIVILEGED,
    }


def _resources(fine_tune: FineTune, stage: Stage) -> dict[str, dict[str, str]]:
    """As asked for; devices (`vendor/kind`) only where something is computed."""
    asked = fine_tune.spec.resources
    return {
        name: kept
        for name, values in (("requests", asked.requests), ("limits", asked.limits))
        if (
            kept := {
                each: str(amount) for each, amount in values.items() if stage in _COMPUTING or "/" not in each
            }
        )
    }


def _pod(fine_tune: FineTune, settings: OperatorSettings, volumes: list[dict[str, Any]]) -> dict[str, Any]:
    near = {
        "labelSelector": {"matchLabels": {names.FINE_TUNE: fine_tune.metadata.name}},
        "topologyKey": "kubernetes.io/hostname",
    }
    own: list[dict[str, Any]] = [{"name": "home", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    pod = restricted_pod([*own, *volumes], settings)
    if fine_tune.spec.storage.access_mode == "ReadWriteOnce" and fine_tune.spec.nodes == 1:
        # A volume of one node: the pods that share it are best on that node.
        term = [{"weight": 100, "podAffinityTerm": near}]
        pod["affinity"] = {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": term}}
    return pod
