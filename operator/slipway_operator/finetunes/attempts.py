"""What Jobs and pods say of the attempts at a stage: running, done with an outcome, or ended without one."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from slipway.kube.kinds import JOB, POD, TRAIN_JOB, Kind
from slipway.objects.states import condition
from slipway_operator import names
from slipway_operator.finetunes.children import Ends
from slipway_operator.finetunes.pods import CONTAINER, MENDS
from slipway_operator.pod_states import Trouble, job_state, seconds, trouble_of

Object = dict[str, Any]
Children = Mapping[tuple[Kind, str], Object]
STOPPED = 75
"""Exit code of a stage that was asked to stop, and goes on when it is begun again."""
_KILLED = 137
_PATIENCE = 10.0
"""Seconds after which a Job without a pod is not merely new."""
_INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stage has written down at its end."""

    succeeded: bool
    reason: str
    message: str
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class End:
    """How an attempt ended that has no outcome."""

    kind: Literal["interrupted", "crashed", "memory", "deadline"]
    reason: str
    message: str
    at: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One attempt, as its Job and pods are now."""

    kind: Kind
    job: Object
    number: int
    token: str
    ends: Ends
    outcome: Outcome | None = None
    end: End | None = None
    trouble: Trouble | None = None
    """Why it does not run, where it does not."""
    computing: bool = False
    """Its container runs."""
    over: bool = False
    """Its Job is complete or failed."""
    leaving: bool = False
    """Its Job is being deleted."""


def attempts(children: Children, stage: str, now: float) -> list[Seen]:
    """The attempts at `stage` that have a Job, the newest first. `now` is in seconds since 1970."""
    found = [
        _seen(kind, job, _pods(children, stage, _label(job, names.ATTEMPT)), now)
        for (kind, _), job in children.items()
        if kind in (JOB, TRAIN_JOB) and _label(job, names.STAGE) == stage
    ]
    return sorted(found, key=lambda seen: -seen.number)


def living(children: Children) -> list[Object]:
    """Pods of stages that have not ended: none of another attempt may begin beside them."""
    return [
        pod
        for (kind, _), pod in children.items()
        if kind == POD
        and _label(pod, names.STAGE)
        and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
    ]


def address(children: Children, stage: str, number: int) -> str | None:
    """Where the attempt's first pod tells how far it is; None while it does not run."""
    for pod in _pods(children, stage, str(number)):
        status = pod.get("status", {})
        if _first(pod) and status.get("phase") == "Running" and status.get("podIP"):
            return str(status["podIP"])
    return None


def _label(item: Object, label: str) -> str:
    return str((item["metadata"].get("labels") or {}).get(label, ""))


def _pods(children: Children, stage: str, number: str) -> list[Object]:
    return [
        pod
        for (kind, _), pod in children.items()
        if kind == POD and _label(pod, names.STAGE) == stage and _label(pod, names.ATTEMPT) == number
    ]


def _first(pod: Object) -> bool:
    """Whether it is the only pod of its attempt, or the first of several, which speaks for all."""
    return bool((pod["metadata"].get("annotations") or {}).get(_INDEX, "0") == "0")


def _seen(kind: Kind, job: Object, pods: list[Object], now: float) -> Seen:
    state, _ = job_state(job)
    outcome = next(filter(None, (_outcome(pod) for pod in pods if _first(pod))), None)
    end = None
    if state == "Failed" and (outcome is None or outcome.succeeded):
        end = _end(job, pods)
        outcome = None
    elif state == "Running":
        outcome = None  # Others of several nodes may still be at work.
    elif outcome is None:
        end = End("interrupted", "OutcomeLost", "what came of it was not seen", _ended_at(job))
    return Seen(
        kind,
        job,
        number=int(_label(job, names.ATTEMPT) or 0),
        token=_label(job, names.TOKEN),
        ends=Ends.of(job),
        outcome=outcome,
        end=end,
        trouble=_trouble(job, pods, now) if state == "Running" else None,
        computing=any(_running(pod) for pod in pods),
        over=state != "Running",
        leaving=bool(job["metadata"].get("deletionTimestamp")),
    )


def _trouble(job: Object, pods: Iterable[Object], now: float) -> Trouble | None:
    made = list(pods)
    if not made and now - seconds(job["metadata"]["creationTimestamp"]) > _PATIENCE:
        name = job["metadata"]["name"]
        said = f"The API server lets Job {name} make no pod: `kubectl describe job {name}` says why."
        return Trouble("PodsRefused", f"{said} {MENDS.quota} {MENDS.security}")
    found = (trouble_of(pod, now, MENDS) for pod in made if pod["status"].get("phase") == "Pending")
    return next(filter(None, found), None)


def _container(pod: Object) -> Mapping[str, Any]:
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return next((each["state"] for each in statuses if each["name"] in (CONTAINER, "node")), {})


def _running(pod: Object) -> bool:
    return "running" in _container(pod)


def _outcome(pod: Object) -> Outcome | None:
    text = _container(pod).get("terminated", {}).get("message", "")
    try:
        said = json.loads(text)
        return Outcome(
            said["state"] == "Succeeded", said.get("reason", ""), said["message"], said.get("result") or {}
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # It ended before it could say anything.


def _end(job: Object, pods: list[Object]) -> End:
    at, name = _ended_at(job), job["metadata"]["name"]
    failed = condition(job, "Failed")
    if failed.get("reason") == "DeadlineExceeded":
        return End("deadline", "DeadlineExceeded", "it took longer than spec.deadline; raise that", at)
    for pod in pods:
        ended = _container(pod).get("terminated", {})
        if ended.get("reason") == "OOMKilled":
            text = f"pod {pod['metadata']['name']} was killed for want of memory. {MENDS.memory}"
            return End("memory", "OutOfMemory", text, at)
    for pod in pods:
        disrupted = condition(pod, "DisruptionTarget")
        if disrupted.get("status") == "True" or pod["status"].get("reason") in ("Evicted", "Preempting"):
            why = disrupted.get("message") or pod["status"].get("message") or "it was evicted"
            reason = str(disrupted.get("reason") or pod["status"].get("reason"))
            return End("interrupted", reason, f"pod {pod['metadata']['name']}: {why}", at)
    codes = {pod["metadata"]["name"]: _container(pod).get("terminated", {}).get("exitCode") for pod in pods}
    if not any(code is not None for code in codes.values()):
        return End("interrupted", "PodLost", "its pod is gone", at)
    if all(code in (None, 0, STOPPED, _KILLED) for code in codes.values()):
        return End("interrupted", "Interrupted", "its pod was stopped", at)
    bad, code = next((pod, code) for pod, code in codes.items() if code not in (None, 0, STOPPED, _KILLED))
    last = next(
        (_container(pod)["terminated"].get("message", "") for pod in pods if pod["metadata"]["name"] == bad),
        "",
    )
    said = f": {last.strip().splitlines()[-1][:300]}" if last.strip() else ""
    text = f"pod {bad} ended with exit code {code}{said}. `kubectl logs job/{name}` says more"
    return End("crashed", "StageCrashed", text, at)


def _ended_at(job: Object) -> float:
    for kind in ("Failed", "Complete"):
        found = condition(job, kind)
        if found.get("lastTransitionTime"):
            return seconds(found["lastTransitionTime"])
    return seconds(job["metadata"]["creationTimestamp"])
