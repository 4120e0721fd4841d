"""One look at a cluster's services, pods and other objects."""

import asyncio
import time

from slipway.cli.cluster.sessions import Session, find_service
from slipway.cli.cluster.states import service_views
from slipway.cli.views import ServiceView
from slipway.kube import Kind, Obj
from slipway.kube.kinds import API_KEY, LLM_SERVICE, MODEL_ROUTE, OWNER, POD
from slipway_operator import names

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
