"""A cluster's objects as a gateway sees them, on a scripted API server."""

import hashlib
from typing import Any

from integration.gateway.upstreams import Upstream
from integration.kube.apiserver import APIServer
from slipway.kube.kinds import API_KEY, ENDPOINT_SLICE, LLM_SERVICE, Kind

NAMESPACE = "models"


class World:
    """What somebody has applied and an operator has observed."""

    def __init__(self, server: APIServer) -> None:
        self.server = server

    def key(
        self, name: str = "local", token: str = "sk-test", namespace: str = NAMESPACE, **spec: Any
    ) -> None:
        digest = hashlib.sha256(token.encode()).hexdigest()
        self.server.put(API_KEY, namespace, name, spec=spec, status={"keyHash": digest})

    def service(
        self,
        name: str = "m",
        namespace: str = NAMESPACE,
        served: str | None = None,
        traffic: dict[str, int] | None = None,
        status: dict[str, Any] | None = None,
        **spec: Any,
    ) -> None:
        shares = [{"revision": revision, "weight": weight} for revision, weight in (traffic or {}).items()]
        model = {"source": "hf://org/model", "name": served or name}
        said = {"traffic": shares, **(status or {})}
        self.server.put(LLM_SERVICE, namespace, name, spec={"model": model, **spec}, status=said)

    def engines(
        self,
        *engines: Upstream | str,
        revision: str | None = "r1",
        service: str = "m",
        namespace: str = NAMESPACE,
        name: str | None = None,
        **conditions: bool,
    ) -> None:
        """The EndpointSlices of one revision: one for each engine, since ports differ here."""
        slices = self.server.items(ENDPOINT_SLICE)
        prefix = name or f"{service}-{revision}-"
        for at, known in list(slices):
            if at == namespace and known.startswith(prefix):
                self.remove(ENDPOINT_SLICE, known, namespace)
        labels = {"slipway.dev/service": service}
        if revision is not None:
            labels["slipway.dev/revision"] = revision
        for number, engine in enumerate(engines):
            address, _, port = (engine if isinstance(engine, str) else engine.address).rpartition(":")
            self.server.put(
                ENDPOINT_SLICE,
                namespace,
                f"{prefix}{number}",
                labels=labels,
                addressType="IPv4",
                endpoints=[{"addresses": [address], "conditions": {"ready": True, **conditions}}],
                ports=[{"name": "http", "port": int(port)}],
            )

    def remove(self, kind: Kind, name: str, namespace: str = NAMESPACE) -> None:
        self.server.remove(kind, namespace, name)
