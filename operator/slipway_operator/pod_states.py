"""What pods and their Deployment say of a revision: how many are ready, what is wrong, how to mend it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slipway.objects.states import condition
from slipway_operator.pods import CONTAINER

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why pods do not become ready."""

    reason: str
    """One CamelCase word."""
    message: str
    """A sentence with the mend."""
    final: bool = False
    """Waiting will not mend it."""


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods of one revision."""

    replicas: int = 0
    """Pods that are not on their way out."""
    leaving: int = 0
    """Pods that are."""
    ready: int = 0
    trouble: Trouble | None = None
    progress: str = ""
    """How far the first one that starts has come."""


@dataclass(frozen=True, slots=True)
class Mends:
    """What to do about pods that do not start, in the words of the object that has them."""

    volume: str = "Check the claim with `kubectl describe pvc`, and cache.storageClass, size and accessMode."
    room: str = "Ask for less in engine.resources, add nodes, or let the pods tolerate the nodes' taints."
    image: str = "Check engine.image, and imagePullSecrets in engine.podTemplate."
    memory: str = "Raise engine.resources.limits.memory, or lower engine.maxModelLen."
    quota: str = "Raise the ResourceQuota, or ask for less in engine.resources."
    security: str = "Change engine.podTemplate or cache.nodePath, or the namespace's Pod Security level."
    webhook: str = "Change engine.podTemplate so that the webhook agrees."


ENGINE = Mends()


_IMAGE = {
    "ErrImagePull": "ImageCannotBePulled",
    "ImagePullBackOff": "ImageCannotBePulled",
    "ErrImageNeverPull": "ImageNotPresent",
    "InvalidImageName": "InvalidImageName",
}
_CONFIGURATION = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_FINAL = frozenset(
    {
        "InvalidImageName",
        "WrongArguments",
        "WrongMaxModelLen",
        "ModelNotSupported",
        "SourceAddress",
        "SourceNotFound",
        "AccessDenied",
        "UnsafeArchive",
        "UnsafeWeights",
        "NotAModel",
        "MissingDependency",
    }
)
"""Reasons that another start would only meet again."""
_PATIENCE = 60.0
"""Seconds after which an image that cannot be pulled is not waited for."""
_MOST_RESTARTS = 4
"""Restarts after which an engine that never became ready is given up."""


def read_pods(pods: Iterable[Object], group: Object | None, now: float) -> Pods:
    """What `pods`, all of one revision, and their Deployment (or LeaderWorkerSet) say.

    `now` is in seconds since 1970.
    """
    living = [pod for pod in pods if not _over(pod)]
    staying = [pod for pod in living if "deletionTimestamp" not in pod["metadata"]]
    ready = sum(is_ready(pod) for pod in staying)
    waiting = sorted((pod for pod in staying if not is_ready(pod)), key=lambda pod: pod["metadata"]["name"])
    trouble = _of_group(group) or next(filter(None, (trouble_of(pod, now) for pod in waiting)), None)
    return Pods(len(staying), len(living) - len(staying), ready, trouble, _progress(waiting))


def seconds(timestamp: str) -> float:
    """A time of the API server, in seconds since 1970."""
    return datetime.fromisoformat(timestamp).timestamp()


def is_ready(pod: Object) -> bool:
    """Whether its condition Ready is True."""
    return condition(pod, "Ready").get("status") == "True"


def _over(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _of_group(group: Object | None) -> Trouble | None:
    """Pods that the API server does not let its controller make: quota, Pod Security, a webhook."""
    failure = condition(group, "ReplicaFailure") if group is not None else {}
    if failure.get("status") != "True":
        return None
    return refused_pods(str(failure.get("message", "")), ENGINE)


def refused_pods(message: str, mends: Mends) -> Trouble:
    """Why the API server let no pods be made, by what it said."""
    if "exceeded quota" in message:
        return Trouble("QuotaExceeded", f"{message}. {mends.quota}")
    if "violates PodSecurity" in message:
        return Trouble("PodSecurityViolated", f"{message}. {mends.security}")
    if "admission webhook" in message:
        return Trouble("RefusedByWebhook", f"{message}. {mends.webhook}")
    return Trouble("PodsRefused", message)


def trouble_of(pod: Object, now: float, mends: Mends = ENGINE) -> Trouble | None:
    """Why the pod is not ready, where it says so."""
    status = pod.get("status", {})
    if status.get("phase") == "Succeeded":
        return None
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        why = scheduled.get("message", "no node fits")
        if "PersistentVolumeClaim" in why or "persistent volumes" in why:
            return Trouble("VolumeNotBound", f"{_name(pod)} has no volume: {why.rstrip('.')}. {mends.volume}")
        return Trouble("Unschedulable", f"{_name(pod)} fits on no node: {why.rstrip('.')}. {mends.room}")
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        trouble = _of_container(pod, container, now, mends)
        if trouble is not None:
            return trouble
    return None


def _of_container(pod: Object, container: Object, now: float, mends: Mends) -> Trouble | None:
    state = container.get("state", {})
    waiting = state.get("waiting", {})
    reason = waiting.get("reason", "")
    if reason in _IMAGE:
        said = waiting.get("message", "")
        cannot = f"The image {container.get('image')} of {_name(pod)} cannot be had"
        text = f"{cannot}: {said.rstrip('.')}. {mends.image}"
        final = _IMAGE[reason] in _FINAL or now - seconds(pod["metadata"]["creationTimestamp"]) > _PATIENCE
        return Trouble(_IMAGE[reason], text, final)
    if reason in _CONFIGURATION:
        said = waiting.get("message", reason)
        return Trouble("ContainerCannotStart", f"{_name(pod)} cannot start: {said.rstrip('.')}.")
    ended = state.get("terminated") or container.get("lastState", {}).get("terminated") or {}
    if ended and (reason == "CrashLoopBackOff" or "terminated" in state or container.get("restartCount")):
        return _of_end(pod, ended, int(container.get("restartCount", 0)), mends)
    return None


def _of_end(pod: Object, ended: Object, restarts: int, mends: Mends) -> Trouble:
    if ended.get("reason") == "OOMKilled":
        return Trouble("OutOfMemory", f"{_name(pod)} was killed for want of memory. {mends.memory}")
    said = failure_in(ended.get("message", ""))
    if said is not None:
        return Trouble(said[0], said[1], final=said[0] in _FINAL or restarts >= _MOST_RESTARTS)
    code, name = ended.get("exitCode"), pod["metadata"]["name"]
    return Trouble(
        "EngineCrashed",
        f"{_name(pod)} ended with exit code {code} ({restarts} restarts). "
        f"`kubectl logs {name} --previous` says why.",
        final=restarts >= _MOST_RESTARTS,
    )


def failure_in(text: str) -> tuple[str, str] | None:
    """Reason and message of the last `event: "failed"` line that an engine wrote."""
    for line in reversed(text.splitlines()):
        if '"failed"' not in line:
            continue
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict) and document.get("event") == "failed":
            return str(document.get("reason") or "EngineFailed"), str(document.get("message", ""))
    return None


def _progress(waiting: Sequence[Object]) -> str:
    for pod in waiting:
        for container in pod.get("status", {}).get("containerStatuses") or ():
            if container.get("name") == CONTAINER and "running" in container.get("state", {}):
                return f"{_name(pod)} loads the model"
    return f"{_name(waiting[0])} waits for its container" if waiting else ""


def _name(pod: Object) -> str:
    return f"Pod {pod['metadata']['name']}"


def job_state(job: Object) -> tuple[str, str]:
    """Where a Job is, `Running`, `Complete` or `Failed`, and its message."""
    for kind in ("Complete", "Failed"):
        found = condition(job, kind)
        if found.get("status") == "True":
            return kind, str(found.get("message", ""))
    return "Running", ""
