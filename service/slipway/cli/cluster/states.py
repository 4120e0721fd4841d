"""A cluster's objects as the views that people see. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slipway.cli.views import ReplicaView, RevisionView, ServiceView
from slipway.objects.states import service_state
from slipway_operator import names
from slipway_operator.pod_states import is_ready, seconds, trouble_of
from slipway_operator.settings import OperatorSettings

Object = Mapping[str, Any]

_LEASE = str(OperatorSettings.model_fields["lease"].default)
_LEASE_OLD_S = 30.0
"""A Lease that was not renewed for so long is nobody's."""


def service_view(service: Object, pods: Iterable[Object], now: float) -> ServiceView:
    """One service; `pods` may hold those of others too. `now` is in seconds since 1970."""
    metadata, status = service["metadata"], service.get("status") or {}
    state, reason, message = service_state(service)
    traffic = {each["revision"]: each["weight"] for each in status.get("traffic") or ()}
    stable, canary = status.get("stableRevision"), status.get("canaryRevision")
    mine: dict[str, list[ReplicaView]] = {each: [] for each in (stable, canary, *traffic) if each}
    for pod in sorted(of_service(service, pods), key=lambda pod: str(pod["metadata"]["name"])):
        if revision := pod["metadata"].get("labels", {}).get(names.REVISION):
            mine.setdefault(revision, []).append(replica_view(pod, now))
    roles = {canary: "canary", stable: "stable"}
    return ServiceView(
        namespace=metadata["namespace"],
        name=metadata["name"],
        model=status.get("model") or service["spec"]["model"].get("name") or metadata["name"],
        state=state,
        reason=reason,
        message=message,
        ready=status.get("readyReplicas", 0),
        wanted=status.get("desiredReplicas", service["spec"].get("replicas", 1)),
        revision=stable or canary or "",
        phase=(status.get("rollout") or {}).get("phase", ""),
        since=metadata.get("creationTimestamp"),
        revisions=tuple(
            RevisionView(revision, roles.get(revision, ""), traffic.get(revision, 0), tuple(replicas))
            for revision, replicas in mine.items()
        ),
    )


def service_views(services: Iterable[Object], pods: Sequence[Object], now: float) -> list[ServiceView]:
    """All services, by namespace and name."""
    views = [service_view(service, pods, now) for service in services]
    return sorted(views, key=lambda view: (view.namespace, view.name))


def of_service(service: Object, items: Iterable[Object]) -> list[Object]:
    """Those of `items` that the operator made for `service`."""
    metadata = service["metadata"]
    return [
        item
        for item in items
        if item["metadata"].get("namespace") == metadata["namespace"]
        and (item["metadata"].get("labels") or {}).get(names.SERVICE) == metadata["name"]
    ]


def operator_leases(leases: Sequence[Object] | None) -> list[Object] | None:
    """Those by which operators agree who acts."""
    return None if leases is None else [each for each in leases if each["metadata"]["name"] == _LEASE]


def leader(leases: Sequence[Object], now: float) -> Object | None:
    """The Lease that an operator holds and renews; `now` is in seconds since 1970."""
    for lease in leases:
        renewed = lease["spec"].get("renewTime")
        if lease["spec"].get("holderIdentity") and renewed and now - seconds(renewed) < _LEASE_OLD_S:
            return lease
    return None


def replica_view(pod: Object, now: float) -> ReplicaView:
    """One pod."""
    status = pod.get("status") or {}
    containers = status.get("containerStatuses") or ()
    state, message = _pod_state(pod, containers)
    trouble = trouble_of(pod, now) if state not in ("Ready", "Stopping") else None
    return ReplicaView(
        name=pod["metadata"]["name"],
        state=state,
        reason=trouble.reason if trouble is not None else "",
        message=trouble.message if trouble is not None else message,
        restarts=sum(each.get("restartCount", 0) for each in containers),
        where=(pod.get("spec") or {}).get("nodeName") or "",
        since=pod["metadata"].get("creationTimestamp"),
    )


def _pod_state(pod: Object, containers: Sequence[Object]) -> tuple[str, str]:
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return "Stopping", ""
    if status.get("phase") in ("Failed", "Succeeded"):
        said = ": ".join(filter(None, (status.get("reason"), status.get("message"))))
        return ("Failed" if status["phase"] == "Failed" else "Finished"), said
    if is_ready(pod):
        return "Ready", ""
    if not containers:
        return "Pending", ""
    states = [each.get("state") or {} for each in containers]
    waiting = next((each["waiting"] for each in states if "waiting" in each), None)
    if waiting is not None:
        begins = waiting.get("reason") in ("ContainerCreating", "PodInitializing")
        return "Pending" if begins else "Waiting", str(waiting.get("reason", ""))
    if any("terminated" in each for each in states):
        return "Waiting", "It ended, and is started again."
    if all(each.get("started") for each in containers):
        return "Unready", "It does not answer its readiness probe."
    return "Starting", "It loads the model."
