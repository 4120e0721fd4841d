"""What is wrong with an LLMService, found in its status, its children and their events. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slipway.cli.cluster.states import leader, replica_view
from slipway.cli.findings import Finding, last_lines
from slipway.objects.annotations import PAUSED
from slipway.objects.states import condition
from slipway_operator.pod_states import failure_in, is_ready, job_state, read_pods, seconds, trouble_of

Object = Mapping[str, Any]

_UNSEEN_S = 10.0
"""A change that the operator has not looked at for so long is not just new."""
_BINDS_S = 60.0
"""A volume that is not there after so long needs a person."""
_LEAVES_S = 120.0
"""A pod that takes longer to go does not go by itself."""
_RECENT_S = 900.0
"""Events older than that tell of the past."""
_MOST_EVENTS = 3
_EDIT = "kubectl edit llm/{name} -n {namespace}"
_NEXT = {
    "Starting": "slipway rollout status {name} -n {namespace}",
    "Fetching": "slipway rollout status {name} -n {namespace}",
    "Unschedulable": "kubectl describe nodes",
    "QuotaExceeded": "kubectl describe resourcequota -n {namespace}",
    "PodSecurityViolated": "kubectl get namespace {namespace} --show-labels",
    "RefusedByWebhook": "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations",
    "EngineCrashed": "slipway logs {name} -n {namespace} --previous",
    "ContainerCannotStart": "slipway describe {name} -n {namespace}",
    "PodsRefused": "slipway describe {name} -n {namespace}",
}
"""By reason; most others are mended in the object itself."""
_PASSING = ("Aborted", "ErrorRate", "Latency", "ProgressDeadlineExceeded")
"""Reasons of a rollback that may not be met again with the same spec."""


@dataclass(frozen=True, slots=True)
class Case:
    """All that is known around one service. `now` is in seconds since 1970."""

    service: Object
    now: float
    pods: Sequence[Object] = ()
    groups: Sequence[Object] = ()
    """Deployments."""
    jobs: Sequence[Object] = ()
    claims: Sequence[Object] = ()
    slices: Sequence[Object] = ()
    events: Sequence[Object] = ()
    """Of the service and its children."""
    leases: Sequence[Object] | None = None
    """The operators'; None: they may not be read."""
    logs: Mapping[str, str] = field(default_factory=dict)
    """Ends of logs of containers that failed, by pod."""

    @property
    def status(self) -> Object:
        status: Object = self.service.get("status") or {}
        return status

    def next(self, reason: str) -> str:
        """The command that goes with a reason."""
        metadata = self.service["metadata"]
        return _NEXT.get(reason, _EDIT).format(name=metadata["name"], namespace=metadata["namespace"])

    def command(self, text: str) -> str:
        """`text` with `{name}` and `{namespace}` filled in."""
        metadata = self.service["metadata"]
        return text.format(name=metadata["name"], namespace=metadata["namespace"])


def findings(case: Case) -> list[Finding]:
    """What is wrong, that which the rest follows from first."""
    found: list[Finding] = []
    for look in (_operator, _deletion, _cache, _groups, _pods, _rollout, _endpoints, _scaling):
        found += look(case)
    found += _conditions(case, found)
    return found or list(_events(case))


def _operator(case: Case) -> Iterator[Finding]:
    metadata = case.service["metadata"]
    if (metadata.get("annotations") or {}).get(PAUSED) == "true":
        cause = f"The annotation {PAUSED} tells the operator to leave the service alone."
        mend = case.command(f"kubectl annotate llm/{{name}} -n {{namespace}} {PAUSED}-")
        yield Finding("OperatorPaused", cause, (), mend)
        return
    behind = metadata.get("generation", 0) - (case.status.get("observedGeneration") or 0)
    held = leader(case.leases or (), case.now)
    if case.leases is not None and held is None:
        seen = tuple(
            f"Lease {each['metadata']['namespace']}/{each['metadata']['name']}: last renewed "
            f"{each['spec'].get('renewTime', 'never')}"
            for each in case.leases
        )
        cause = "No operator runs: nothing acts on changes, rollouts stand still."
        yield Finding("OperatorMissing", cause, seen or ("There is no Lease of an operator.",),
                      "kubectl get pods -A -l app.kubernetes.io/component=operator")  # fmt: skip
    elif behind > 0 and case.now - _changed_at(case) > _UNSEEN_S:
        cause = f"The operator has not looked at the last change (generation {metadata['generation']})."
        yield Finding("NotSeen", cause, (f"Lease held by {held['spec']['holderIdentity']}",) if held else (),
                      "kubectl logs -n slipway-system -l app.kubernetes.io/component=operator")  # fmt: skip


def _changed_at(case: Case) -> float:
    fields = case.service["metadata"].get("managedFields") or ()
    times = [each["time"] for each in fields if each.get("time") and each.get("subresource") != "status"]
    return max(map(seconds, times), default=seconds(case.service["metadata"]["creationTimestamp"]))


def _deletion(case: Case) -> Iterator[Finding]:
    since = case.service["metadata"].get("deletionTimestamp")
    if since:
        kept = case.service["metadata"].get("finalizers") or ()
        yield Finding("Deleting", f"The service is being deleted since {since}.",
                      tuple(f"finalizer {each}" for each in kept))  # fmt: skip


def _cache(case: Case) -> Iterator[Finding]:
    for claim in case.claims:
        phase = (claim.get("status") or {}).get("phase")
        told = _told(case, "PersistentVolumeClaim", claim["metadata"]["name"])
        late = case.now - seconds(claim["metadata"]["creationTimestamp"]) > _BINDS_S
        if phase != "Bound" and (told or late):
            name, wanted = claim["metadata"]["name"], claim["spec"].get("storageClassName", "the default")
            yield Finding(
                "CacheNotBound",
                f"The volume of the cache, {name}, is {phase}: its class is {wanted}. Choose a class of"
                " `kubectl get storageclass` in cache.storageClass.",
                told,
                f"kubectl describe pvc {name} -n {claim['metadata']['namespace']}",
            )
    for job in case.jobs:
        state, message = job_state(job)
        if state == "Failed":
            name = job["metadata"]["name"]
            lines = [
                line for pod, text in case.logs.items() if pod.startswith(name) for line in last_lines(text)
            ]
            fetch = case.status.get("fetch") or {}
            cause = fetch.get("message") or f"The model could not be fetched: {message}"
            yield Finding("FetchFailed", cause, (f"Job {name}: {message}", *lines), case.next("FetchFailed"))


def _groups(case: Case) -> Iterator[Finding]:
    for group in case.groups:
        trouble = read_pods((), group, case.now).trouble
        if trouble is not None:
            name, status = group["metadata"]["name"], group.get("status") or {}
            evidence = (
                f"Deployment {name}: {status.get('replicas', 0)} of {group['spec'].get('replicas')} pods",
            )
            yield Finding(trouble.reason, trouble.message, evidence, case.next(trouble.reason))


def _pods(case: Case) -> Iterator[Finding]:
    alike: dict[tuple[str, str], list[Object]] = {}
    for pod in case.pods:
        if (found := _of_pod(case, pod)) is not None:
            alike.setdefault((found[0], found[1].replace(pod["metadata"]["name"], "")), []).append(pod)
    for pods in alike.values():
        reason, cause = _of_pod(case, pods[0]) or ("", "")
        names = [pod["metadata"]["name"] for pod in pods]
        evidence = [_described(case, pod) for pod in pods[:3]]
        if len(pods) > 3:
            evidence.append(f"and {len(pods) - 3} more pods")
        if failure_in(_end_of(pods[0])) is None:  # Otherwise the cause is what the log says.
            evidence += last_lines(case.logs.get(names[0], ""))
        evidence += _told(case, "Pod", names[0])
        follow = {
            "Starting": "slipway logs {name} -n {namespace} -f",
            "Unready": "slipway logs {name} -n {namespace}",
        }
        step = case.command(follow[reason]) if reason in follow else case.next(reason)
        if reason in ("StuckTerminating", "Evicted"):
            step = f"kubectl describe pod {names[0]} -n {case.service['metadata']['namespace']}"
        yield Finding(reason, cause, tuple(evidence), step)


def _of_pod(case: Case, pod: Object) -> tuple[str, str] | None:
    """Reason and cause of what keeps one pod from serving."""
    name, status, gone = (
        pod["metadata"]["name"],
        pod.get("status") or {},
        pod["metadata"].get("deletionTimestamp"),
    )
    if gone:
        late = case.now - seconds(gone)
        return (
            ("StuckTerminating", f"Pod {name} should be gone for {late:.0f} s: does its node answer?")
            if (late > _LEAVES_S)
            else None
        )
    if status.get("phase") == "Failed":
        if pod["metadata"].get("labels", {}).get("batch.kubernetes.io/job-name"):
            return None  # Its Job tells.
        said = status.get("message") or status.get("reason") or "it failed"
        return status.get("reason") or "PodFailed", f"Pod {name}: {said}"
    if status.get("phase") == "Succeeded" or is_ready(pod):
        return None
    if "unbound immediate PersistentVolumeClaims" in condition(pod, "PodScheduled").get(
        "message", ""
    ) and any(True for _ in _cache(case)):
        return None  # It waits for the claim, whose cause is told already.
    trouble = trouble_of(pod, case.now)
    if trouble is not None:
        return trouble.reason, trouble.message
    view = replica_view(pod, case.now)
    if view.state == "Unready":
        return (
            "Unready",
            f"Pod {name} runs, and does not answer its readiness probe: it is overloaded or hangs.",
        )
    return "Starting", f"Pod {name} is not ready yet. {view.message}".rstrip()


def _end_of(pod: Object) -> str:
    """The message with which the pod's container ended last."""
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        for state in (container.get("state") or {}, container.get("lastState") or {}):
            if message := (state.get("terminated") or {}).get("message"):
                return str(message)
    return ""


def _described(case: Case, pod: Object) -> str:
    view = replica_view(pod, case.now)
    where = f" on {view.where}" if view.where else ""
    restarts = f", {view.restarts} restarts" if view.restarts else ""
    return f"Pod {view.name}{where}: {view.state}{restarts}"


def _rollout(case: Case) -> Iterator[Finding]:
    rollout = case.status.get("rollout") or {}
    phase, message = rollout.get("phase"), rollout.get("message", "")
    if phase == "RolledBack":
        reason = rollout.get("reason") or "RolledBack"
        again = case.command("slipway rollout retry {name} -n {namespace}")
        yield Finding(reason, message, _serves(case), again if reason in _PASSING else case.next(reason))
    elif phase == "Paused":
        by_spec = ((case.service["spec"].get("rollout") or {}).get("paused")) is True
        verb = "resume" if rollout.get("paused") else "promote"
        step = case.next("") if by_spec else case.command(f"slipway rollout {verb} {{name}} -n {{namespace}}")
        yield Finding("RolloutPaused", f"The rollout waits for a person: {message}", _traffic(case), step)
    elif undo := rollout.get("undo"):
        cause = f"Revision {undo.get('to')} serves by an undo; the spec still asks for {undo.get('of')}."
        yield Finding("Undone", cause, (), case.next(""))


def _serves(case: Case) -> tuple[str, ...]:
    stable = case.status.get("stableRevision")
    return (f"Revision {stable} serves.",) if stable else ()


def _traffic(case: Case) -> tuple[str, ...]:
    return tuple(
        f"revision {each['revision']}: {each['weight']}%" for each in case.status.get("traffic") or ()
    )


def _endpoints(case: Case) -> Iterator[Finding]:
    ready = [pod for pod in case.pods if is_ready(pod) and not pod["metadata"].get("deletionTimestamp")]
    known = {
        (endpoint.get("targetRef") or {}).get("name")
        for each in case.slices
        for endpoint in each.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
    }
    lost = [pod["metadata"]["name"] for pod in ready if pod["metadata"]["name"] not in known]
    if lost:
        cause = "Pods are ready, and no EndpointSlice names them: gateways do not find them."
        look = case.command("kubectl get endpointslices -n {namespace} -l slipway.dev/service={name}")
        yield Finding("NoEndpoints", cause, tuple(f"Pod {name}" for name in lost[:3]), look)


def _scaling(case: Case) -> Iterator[Finding]:
    scaling, spec = case.status.get("scaling") or {}, case.service["spec"]
    active = condition(case.service, "ScalingActive")
    if active.get("status") == "False":
        cause = f"The number of replicas is held: {active.get('message', '')}"
        yield Finding(
            str(active.get("reason")),
            cause,
            (),
            "kubectl get endpointslices -A -l app.kubernetes.io/component=gateway",
        )
    most = (spec.get("autoscaling") or {}).get("maxReplicas")
    if most is not None and scaling.get("desired") == most and scaling.get("reason") not in (None, "Steady"):
        yield Finding("AtMaximum", f"All {most} replicas that autoscaling may have are wanted: "
                      f"{scaling.get('message', '')}", (), case.next(""))  # fmt: skip
    if spec.get("autoscaling") is None and spec.get("replicas") == 0:
        yield Finding("NoReplicas", "replicas is 0, so nothing answers.", (),
                      case.command("kubectl scale llm/{name} -n {namespace} --replicas=1"))  # fmt: skip


def _conditions(case: Case, found: Sequence[Finding]) -> Iterator[Finding]:
    """What the operator says is wrong, unless it has been found already."""
    known = {each.reason for each in found}
    for kind, bad in (("Ready", "False"), ("Degraded", "True")):
        said = condition(case.service, kind)
        reason, message = str(said.get("reason", "")), str(said.get("message", ""))
        if said.get("status") != bad or reason in known or any(message in each.cause for each in found):
            continue
        if found and reason in ("Starting", "Fetching", "ReplicasLost", "Unschedulable"):
            continue  # Words for all that keeps replicas from being there: the cause is told.
        known.add(reason)
        yield Finding(reason, message, (f"condition {kind} is {bad}",), case.next(reason))


def _events(case: Case) -> Iterable[Finding]:
    """Where all is well: warnings of late, which may tell what is about to go wrong."""
    if condition(case.service, "Ready").get("status") == "True":
        return
    recent = [
        each for each in case.events if each.get("type") == "Warning" and case.now - told_at(each) < _RECENT_S
    ]
    for event in sorted(recent, key=told_at)[-_MOST_EVENTS:]:
        about = event.get("regarding") or {}
        of = f"event of {about.get('kind')} {about.get('name')}"
        step = case.command("slipway describe {name} -n {namespace}")
        yield Finding(event["reason"], event.get("note", ""), (of,), step)


def _told(case: Case, kind: str, name: str) -> tuple[str, ...]:
    """The last two warnings about an object."""
    warnings = [
        event
        for event in case.events
        if event.get("type") == "Warning"
        and (event.get("regarding") or {}).get("kind") == kind
        and (event.get("regarding") or {}).get("name") == name
    ]
    lines = [
        f"event {event['reason']}: {' '.join(event.get('note', '').split())}"
        for event in sorted(warnings, key=told_at)
    ]
    return tuple(dict.fromkeys(lines))[-2:]


def told_at(event: Object) -> float:
    """When an event was last told, in seconds since 1970."""
    series = event.get("series") or {}
    stamps = (
        series.get("lastObservedTime"),
        event.get("deprecatedLastTimestamp"),
        event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    )
    return seconds(next(stamp for stamp in stamps if stamp))
