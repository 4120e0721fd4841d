"""Reads all that is around one service; what may not be read is left out."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from slipway.cli.cluster.findings import Case
from slipway.cli.cluster.reading import allowed
from slipway.cli.cluster.sessions import Session, find_service
from slipway.cli.cluster.states import operator_leases
from slipway.kube import Obj
from slipway.kube.errors import KubeError
from slipway.kube.kinds import DEPLOYMENT, ENDPOINT_SLICE, EVENT, JOB, LEASE, LLM_SERVICE, POD, PVC
from slipway_operator import names
from slipway_operator.pods import CONTAINER

_LOGS_OF = 3
"""Pods whose logs are read."""


async def read_case(session: Session, name: str) -> Case:
    """Raises KubeError, and ClickException if there is no such service."""
    service = await find_service(session, name)
    namespace = service["metadata"]["namespace"]
    mine = f"{names.SERVICE}={name}"
    engines, fetching, groups, jobs, claims, slices, events = await asyncio.gather(
        allowed(session, POD, namespace, mine),
        allowed(session, POD, namespace, f"{names.FETCH_OF}={name}"),
        allowed(session, DEPLOYMENT, namespace, mine),
        allowed(session, JOB, namespace, mine),
        allowed(session, PVC, namespace, mine),
        allowed(session, ENDPOINT_SLICE, namespace, mine),
        allowed(session, EVENT, namespace),
    )
    leases = await allowed(session, LEASE, None)
    pods = [*(engines or ()), *(fetching or ())]
    children = [*pods, *(groups or ()), *(jobs or ()), *(claims or ())]
    return Case(
        service=service,
        now=time.time(),
        pods=pods,
        groups=groups or (),
        jobs=jobs or (),
        claims=claims or (),
        slices=slices or (),
        events=events_about(service, events or [], children),
        leases=operator_leases(leases),
        logs=await _logs(session, namespace, pods),
    )


def events_about(service: Obj, events: Sequence[Obj], children: Sequence[Obj]) -> list[Obj]:
    """The events of a service and of its children, also of those that are gone by now."""
    name = service["metadata"]["name"]
    known = {(each["kind"], each["metadata"]["name"]) for each in children}
    found = []
    for event in events:
        about = event.get("regarding") or {}
        kind, of = about.get("kind"), str(about.get("name", ""))
        revisions = [entry["revision"] for entry in (service.get("status") or {}).get("history") or ()]
        if (
            (kind == LLM_SERVICE.kind and of == name)
            or (kind, of) in known
            or any(of.startswith(names.of_revision(name, revision)) for revision in revisions)
        ):
            found.append(event)
    return found


async def _logs(session: Session, namespace: str, pods: Sequence[Obj]) -> dict[str, str]:
    """The ends of the logs of containers that ended by themselves."""
    failed = [pod for pod in pods if _ended(pod)][:_LOGS_OF]
    texts = await asyncio.gather(*(_log(session, namespace, pod) for pod in failed))
    return {pod["metadata"]["name"]: text for pod, text in zip(failed, texts, strict=True) if text}


def _ended(pod: Mapping[str, Any]) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return any(
        "terminated" in (each.get(state) or {}) for each in statuses for state in ("state", "lastState")
    )


async def _log(session: Session, namespace: str, pod: Obj) -> str:
    """Of the container as it ended last."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    over = any("terminated" in (each.get("state") or {}) for each in statuses)
    containers = [each["name"] for each in statuses]
    container = CONTAINER if CONTAINER in containers else containers[0]
    params = {"container": container, "tailLines": "20"} | ({} if over else {"previous": "true"})
    path = POD.path(namespace, pod["metadata"]["name"], "log")
    try:
        async with session.client.stream(path, params, seconds=10) as lines:
            return "\n".join([line.decode(errors="replace") async for line in lines])
    except KubeError:
        return ""  # Logs are thrown away with their container.
