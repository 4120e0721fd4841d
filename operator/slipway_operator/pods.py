"""The pod of an engine: what an LLMService means for one, under Pod Security `restricted`."""

from collections.abc import Iterable
from typing import Any

from slipway.objects import LLMService
from slipway.objects.engines import engine_args, takes_adapters
from slipway_operator import names
from slipway_operator.merging import merge
from slipway_operator.settings import OperatorSettings

PORT = 8001
"""Port of every engine."""
CONTAINER = "engine"
HOME = "/var/lib/slipway"
CACHE = f"{HOME}/cache/slipway"
BROUGHT = "/etc/slipway/adapters"
"""Where the list of the adapters that FineTunes have brought is mounted."""
CLAIMED = "/mnt/model"
"""Where the claim of a `pvc://` source is mounted."""
USER = 10001
UNPRIVILEGED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
"""The security context of every container."""
END_DELAY = 5
"""Seconds between a pod's end as endpoint and SIGTERM, so that gateways have seen that it is none."""
DRAIN = 40
"""Seconds that an engine may take for what runs, and for its own end."""


def device_of(service: LLMService, settings: OperatorSettings) -> str:
    """`cpu` or `gpu`."""
    device = service.spec.engine.device
    return settings.device if device == "auto" else device


def pod_template(
    service: LLMService, revision: str, settings: OperatorSettings, *, nodes: int = 1
) -> dict[str, Any]:
    """The template of a revision's pods; with `nodes` > 1 those that make one replica together."""
    engine = service.spec.engine
    name = service.metadata.name
    container = {
        **_container(service, settings, nodes),
        "args": ["engine", *_listening(), *_brought(service), *_arguments(service)],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "startupProbe": _probe(period=2, failures=900),
        "readinessProbe": _probe(period=2, failures=2),
        "livenessProbe": _probe(period=10, failures=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": END_DELAY}}},
    }
    template = {
        "metadata": {"labels": names.labels(name, revision)},
        "spec": {
            **_pod(service, settings),
            "containers": [container],
            "serviceAccountName": f"{name}-engine",
            "terminationGracePeriodSeconds": END_DELAY + DRAIN,
        },
    }
    if takes_adapters(service):
        mount = {"name": "adapters", "mountPath": BROUGHT, "readOnly": True}
        container["volumeMounts"] = [*container["volumeMounts"], mount]
        volume = {"name": "adapters", "configMap": {"name": f"{name}-adapters", "optional": True}}
        template["spec"]["volumes"] = [*template["spec"]["volumes"], volume]
    if engine.pod_template:
        template = merge(template, engine.pod_template)
    # What ties pods to their revision is nobody's to change.
    metadata = template.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), **names.labels(name, revision)}
    return {**template, "metadata": {**metadata, "labels": labels}}


def fetch_template(service: LLMService, settings: OperatorSettings) -> dict[str, Any]:
    """The template of the pod that fetches the model into the cache, once for all engines."""
    container = {
        **_container(service, settings, 1, computes=False),
        "args": ["engine", "--fetch-only", *_arguments(service)],
    }
    template = {
        "metadata": {
            "labels": {names.MANAGED_BY: names.MANAGER, names.FETCH_OF: service.metadata.name},
        },
        "spec": {
            **_pod(service, settings),
            "containers": [container],
            "serviceAccountName": f"{service.metadata.name}-engine",
            "restartPolicy": "Never",
        },
    }
    placing = {
        field: value
        for field, value in (service.spec.engine.pod_template or {}).get("spec", {}).items()
        if field in ("nodeSelector", "tolerations", "affinity", "imagePullSecrets", "runtimeClassName")
    }
    return {**template, "spec": merge(template["spec"], placing)}


def _listening() -> list[str]:
    return ["--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104 - a pod is reached from outside


def _brought(service: LLMService) -> list[str]:
    """Engines that begin anew load what FineTunes have brought before they take requests."""
    return ["--adapters-file", f"{BROUGHT}/adapters.json"] if takes_adapters(service) else []


def _arguments(service: LLMService) -> list[str]:
    """The arguments of `slipway engine`; a `pvc://` source is the folder where its claim is mounted."""
    args = engine_args(service)
    claim = claimed(service)
    if claim is not None:
        args[args.index("--source") + 1] = f"file://{CLAIMED}/{claim[1]}".rstrip("/")
    return args


def claimed(service: LLMService) -> tuple[str, str] | None:
    """Claim and path of a `pvc://claim/path` source."""
    scheme, _, rest = service.spec.model.source.partition("://")
    if scheme != "pvc":
        return None
    claim, _, path = rest.partition("/")
    return claim, path


def _container(
    service: LLMService, settings: OperatorSettings, nodes: int, *, computes: bool = True
) -> dict[str, Any]:
    engine = service.spec.engine
    gpu = device_of(service, settings) == "gpu"
    image = engine.image or (settings.engine_image_gpu if gpu else settings.engine_image_cpu)
    environment: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in engine.env.items()]
    if settings.engine_key_file is not None:
        key = {"name": settings.engine_key_secret, "key": "engine-key"}
        environment.append({"name": "SLIPWAY_ENGINE_KEY", "valueFrom": {"secretKeyRef": key}})
    mounts: list[dict[str, Any]] = [
        {"name": "home", "mountPath": HOME},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
    ]
    cache = service.spec.cache
    if cache.storage_class is not None or cache.node_path is not None:
        mounts.append({"name": "models", "mountPath": CACHE})
    if claimed(service) is not None:
        mounts.append({"name": "claimed", "mountPath": CLAIMED, "readOnly": True})
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": settings.image_pull_policy,
        "env": environment,
        "volumeMounts": mounts,
        # The last line of a start that failed says why; the pod's status holds it.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": UNPRIVILEGED,
    }
    if computes and (resources := _resources(service, gpu, nodes)):
        container["resources"] = resources
    return container


def _resources(service: LLMService, gpu: bool, nodes: int) -> dict[str, Any]:
    """As asked for; a GPU for each part that tensor (and pipeline) parallelism makes of the model."""
    engine = service.spec.engine
    resources: dict[str, dict[str, str]] = {
        name: dict(values)
        for name, values in (("requests", engine.resources.requests), ("limits", engine.resources.limits))
        if values
    }
    named = any("gpu" in name for values in resources.values() for name in values)
    if gpu and not named:
        parts = engine.tensor_parallel * (engine.pipeline_parallel if nodes == 1 else 1)
        resources.setdefault("limits", {})["nvidia.com/gpu"] = str(parts)
    return resources


def _pod(service: LLMService, settings: OperatorSettings) -> dict[str, Any]:
    cache = service.spec.cache
    volumes: list[dict[str, Any]] = [
        {"name": "home", "emptyDir": {}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ]
    if cache.storage_class is not None:
        claim = {"claimName": f"{service.metadata.name}-models"}
        volumes.append({"name": "models", "persistentVolumeClaim": claim})
    elif cache.node_path is not None:
        host = {"path": cache.node_path, "type": "DirectoryOrCreate"}
        volumes.append({"name": "models", "hostPath": host})
    claim_and_path = claimed(service)
    if claim_and_path is not None:
        volumes.append(
            {"name": "claimed", "persistentVolumeClaim": {"claimName": claim_and_path[0], "readOnly": True}}
        )
    return restricted_pod(volumes, settings)


def restricted_pod(volumes: list[dict[str, Any]], settings: OperatorSettings) -> dict[str, Any]:
    """A pod's spec but for its containers: an unprivileged user, no token of the API server."""
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": volumes,
    }
    if settings.image_pull_secrets:
        pod["imagePullSecrets"] = _named(settings.image_pull_secrets)
    return pod


def _named(of: Iterable[str]) -> list[dict[str, str]]:
    return [{"name": name} for name in of]


def _probe(period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": "/health", "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }
