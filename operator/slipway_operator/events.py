"""Events (events.k8s.io): what `kubectl describe` tells of an object's past."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from slipway.kube.client import Client
from slipway.kube.errors import KubeError
from slipway.kube.kinds import EVENT, Kind
from slipway_operator import names
from slipway_operator.logs import Log
from slipway_operator.rollouts import Event
from slipway_operator.worlds import Object, key_of


@dataclass(frozen=True, slots=True)
class Teller:
    """Writes events and log lines."""

    client: Client
    log: Log
    identity: str
    now: Callable[[], float]

    async def tell(self, kind: Kind, item: Object, event: Event) -> None:
        """Write an event about `item`; lost if the API server does not take it: it is no state."""
        namespace, name = key_of(item)
        level = "warning" if event.type == "Warning" else "info"
        self.log.write(level, event.reason, event.message, kind=kind.kind, object=f"{namespace}/{name}")
        body = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": f"{name}.{secrets.token_hex(8)}", "namespace": namespace},
            "eventTime": datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "type": event.type,
            "reason": event.reason,
            "note": event.message[:1024],
            "action": "Reconcile",
            "reportingController": f"{names.GROUP}/operator",
            "reportingInstance": self.identity[:128],
            "regarding": {
                "apiVersion": kind.api_version,
                "kind": kind.kind,
                "namespace": namespace,
                "name": name,
                "uid": item["metadata"]["uid"],
            },
        }
        try:
            await self.client.create(EVENT, body)
        except KubeError as error:
            self.log.write("warning", "event", f"An event could not be written: {error}")
