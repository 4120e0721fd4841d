"""`status.json`: what a local run tells about itself. The shape is fixed by docs/architecture.md."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from slipway.local.plans import GATEWAY, LEAVING, State
from slipway.local.progress import describe
from slipway.local.replicas import Running
from slipway.objects.llmservices import LLMService


def service_report(
    service: LLMService,
    replicas: Iterable[Running],
    now: float,
    last: Mapping[str, float],
) -> dict[str, Any]:
    """State, reason and message of one service and its replicas; `last` as `progress.eta` takes it."""
    rows = sorted(replicas, key=lambda r: (r.replica.revision != service.revision, r.replica.index))
    mine = [r for r in rows if r.replica.revision == service.revision]
    state, reason, message = _verdict(service, rows, mine)
    return _service(service, rows, now, last) | {"state": state, "reason": reason, "message": message}


def removed_report(service: LLMService, replicas: Iterable[Running], now: float) -> dict[str, Any]:
    """A service that is no longer among the objects, while its last replicas stop."""
    rows = sorted(replicas, key=lambda r: r.replica.index)
    return _service(service, rows, now, {}) | {"state": "Stopping", "reason": "Removed", "replicas": 0}


def _service(
    service: LLMService, rows: list[Running], now: float, last: Mapping[str, float]
) -> dict[str, Any]:
    return {
        "name": service.metadata.name,
        "model": service.served_name,
        "task": service.spec.model.task,
        "revision": service.revision,
        "state": "",
        "reason": "",
        "message": "",
        "replicas": service.spec.replicas,
        "readyReplicas": sum(r.replica.state is State.READY for r in rows),
        "processes": [replica_report(r, now, last) for r in rows],
    }


def _verdict(service: LLMService, rows: list[Running], mine: list[Running]) -> tuple[str, str, str]:
    failed = [r for r in mine if r.replica.state is State.FAILED]
    if failed:
        serving = sorted({r.replica.revision for r in rows if r.replica.state is State.READY})
        old = [revision for revision in serving if revision != service.revision]
        message = f"{failed[0].label}: {failed[0].message}"
        if old:
            message = f"revision {service.revision} did not start, {old[0]} goes on serving: {message}"
        return ("Degraded" if serving else "Failed"), "StartFailed", message
    waiting = [r for r in mine if r.replica.state is State.WAITING]
    if waiting:
        return "Degraded", "BackOff", f"{waiting[0].label}: {waiting[0].message}"
    unready = [r for r in mine if r.replica.state is State.UNREADY]
    if unready:
        return "Degraded", "ProbeFailed", f"{unready[0].label} does not answer its health probe"
    wanted = service.spec.replicas
    ready = sum(r.replica.state is State.READY for r in mine)
    old_ones = [r for r in rows if r.replica.revision != service.revision and r.replica.state not in LEAVING]
    if ready == wanted == len([r for r in mine if r.replica.state not in LEAVING]) and not old_ones:
        return "Ready", ("Serving" if wanted else "ScaledToZero"), ""
    return (
        "Progressing",
        ("RollingOut" if old_ones else "Starting"),
        f"{ready} of {wanted} replicas are ready",
    )


def replica_report(running: Running, now: float, last: Mapping[str, float]) -> dict[str, Any]:
    """One replica; while it starts, its message is its progress."""
    replica = running.replica
    message = running.message
    if replica.state is State.STARTING and replica.group != GATEWAY:
        message = describe(running.progress, now, last)
    if replica.state is State.WAITING:
        message = f"starts again in {max(0, replica.retry_at - now):.0f} s: {message}"
    return {
        "name": running.label,
        "index": replica.index,
        "revision": replica.revision,
        "state": str(replica.state),
        "reason": running.reason,
        "message": message,
        "address": running.address,
        "pid": running.child.pid if running.child is not None else None,
        "restarts": replica.restarts,
        "startedAt": stamp(running.started_at),
        "log": str(running.tail.path) if running.tail is not None else "",
    }


def stamp(time: datetime | None) -> str | None:
    """RFC 3339 in UTC."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time is not None else None
