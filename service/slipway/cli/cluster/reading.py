"""One look at a cluster's services, pods and other objects."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from slipway.cli.cluster.sessions import Session, find_service
from slipway.cli.cluster.states import leader, operator_leases, service_views
from slipway.cli.views import ServiceView
from slipway.kube import Kind, Obj
from slipway.kube.errors import APIStatusError
from slipway.kube.kinds import API_KEY, LEASE, LLM_SERVICE, MODEL_ROUTE, OWNER, POD
from slipway_operator import names
from slipway_operator.pod_states import is_ready
from slipway_operator.settings import OperatorSettings

KINDS: dict[str, Kind] = {"keys": API_KEY, "routes": MODEL_ROUTE, "owners": OWNER}


async def read_views(session: Session, name: str | None = None) -> list[ServiceView]:
    """The services; with `name` that one alone. Raises KubeError, ClickException if there is none."""
    if name is not None:
        service = await find_service(session, name)
        selector = f"{names.SERVICE}={name}"
        pods = await session.client.list(POD, session.own, selector=selector)
        return service_views([service], pods.items, time.time())
    services, pods = await asyncio.gather(
        session.client.list(LLM_SERVICE, session.namespace),
        session.client.list(POD, session.namespace, selector=names.CHILDREN),
    )
    return service_views(services.items, pods.items, time.time())


async def read_objects(session: Session, kind: str, name: str | None) -> list[Obj]:
    """Keys, routes or owners, by namespace and name."""
    if name is not None:
        return [await session.find(KINDS[kind], name)]
    found = (await session.client.list(KINDS[kind], session.namespace)).items
    for item in found:
        item["metadata"].pop("managedFields", None)
    return sorted(found, key=lambda item: (item["metadata"]["namespace"], item["metadata"]["name"]))


# --- the whole ---------------------------------------------------------------------------------------

_GATEWAYS = str(OperatorSettings.model_fields["gateway_selector"].default)


@dataclass(frozen=True, slots=True)
class ClusterState:
    """What runs on a cluster."""

    server: str
    where: str
    operator: str
    gateways: str
    services: list[ServiceView]

    @property
    def ready(self) -> bool:
        return all(service.state in ("Ready", "Stopping") for service in self.services)


async def read_state(session: Session) -> ClusterState:
    """Services, the operator that acts, the gateways. Raises KubeError."""
    services, leases, gateways = await asyncio.gather(
        read_views(session), allowed(session, LEASE, None), allowed(session, POD, None, _GATEWAYS)
    )
    return ClusterState(
        server=session.client.connection.server,
        where="all namespaces" if session.everywhere else f"namespace {session.own}",
        operator=_operator(leases, time.time()),
        gateways=_gateways(gateways),
        services=services,
    )


async def allowed(
    session: Session, kind: Kind, namespace: str | None, selector: str | None = None
) -> list[Obj] | None:
    """All objects of a kind; None where they may not be read."""
    try:
        return (await session.client.list(kind, namespace, selector=selector)).items
    except APIStatusError:
        return None


def _operator(leases: Sequence[Obj] | None, now: float) -> str:
    own = operator_leases(leases)
    if own is None:
        return "unknown, its Lease may not be read"
    held = leader(own, now)
    if held is None:
        return "none acts"
    return f"{held['spec']['holderIdentity']} in {held['metadata']['namespace']}"


def _gateways(pods: Sequence[Obj] | None) -> str:
    if pods is None:
        return "unknown, their pods may not be read"
    return f"{sum(map(is_ready, pods))} of {len(pods)} ready" if pods else "none"
