"""The operator's work written with kopf, as its documentation shows it: run by `kopf run`.

The children's manifests and the client are Slipway's own, so what differs is what kopf has in place of
watches, queue and executor. It does less: one object has one revision, nothing is measured, children that
somebody deletes come back with the next start alone, and no Lease is held.
"""

# mypy: disable-error-code="untyped-decorator"

import os
from typing import Any

import kopf

from slipway.kube.client import Client
from slipway.kube.config import load
from slipway.kube.kinds import LLM_SERVICE
from slipway.objects import LLMService
from slipway_operator import names
from slipway_operator.children import revision_children, shared_children
from slipway_operator.executor import kind_of
from slipway_operator.settings import OperatorSettings

SETTINGS = OperatorSettings()


@kopf.on.startup()
async def started(memo: kopf.Memo, **_: Any) -> None:
    memo.client = Client(load(os.environ), manager="kopf-operator")


@kopf.on.cleanup()
async def ended(memo: kopf.Memo, **_: Any) -> None:
    await memo.client.close()


@kopf.on.create(LLM_SERVICE.group, LLM_SERVICE.version, LLM_SERVICE.plural)
@kopf.on.update(LLM_SERVICE.group, LLM_SERVICE.version, LLM_SERVICE.plural)
@kopf.on.resume(LLM_SERVICE.group, LLM_SERVICE.version, LLM_SERVICE.plural)
async def wanted(body: kopf.Body, patch: kopf.Patch, memo: kopf.Memo, **_: Any) -> None:
    """Make what an LLMService asks for true, and say so in its status."""
    parent = {"apiVersion": LLM_SERVICE.api_version, "kind": LLM_SERVICE.kind, **body}
    service = LLMService.model_validate({name: part for name, part in parent.items() if name != "status"})
    children = shared_children(service, SETTINGS, parent, frozenset())
    children += revision_children(service, service.revision, service.spec.replicas, SETTINGS, parent)
    for manifest in children:
        await memo.client.apply(kind_of(manifest), manifest)
    patch.status["observedGeneration"] = parent["metadata"]["generation"]
    patch.status["desiredReplicas"] = service.spec.replicas
    patch.status["stableRevision"] = service.revision


@kopf.on.event("apps", "v1", "deployments", labels={names.MANAGED_BY: names.MANAGER})
async def counted(body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:
    """Bring how many replicas answer into the LLMService's status."""
    name = body.metadata.labels.get(names.SERVICE)
    ready = body.status.get("readyReplicas", 0)
    if name is None or body.metadata.get("deletionTimestamp") or memo.get(("ready", name), 0) == ready:
        return
    memo["ready", name] = ready
    status = {"status": {"readyReplicas": ready}}
    await memo.client.merge(LLM_SERVICE, body.metadata.namespace, name, status, subresource="status")
