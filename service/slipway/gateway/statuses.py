"""How a service is doing: what the operator of a cluster, or the supervisor of a local run, says of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from slipway.objects import LLMService
from slipway.objects.states import ServiceState, State


@dataclass(frozen=True, slots=True)
class RevisionStatus:
    """One revision of a service."""

    revision: str
    role: str
    """stable, canary, or "" for one on its way out."""
    weight: int | None
    """Percent of the requests; None where they are not shared out by revision."""
    ready: int
    """Engines of it that can serve."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The same from a cluster and from a local run."""

    state: State
    reason: str
    """One CamelCase word."""
    message: str
    """Names what runs where: for admins alone."""
    replicas: int
    """Engines wanted."""
    ready_replicas: int
    phase: str = ""
    """Of the rollout; "" where there is none."""
    revisions: tuple[RevisionStatus, ...] = ()

    @property
    def failing(self) -> bool:
        """Whether it takes more than time to make it serve."""
        return self.state in ("Failed", "Degraded")

    def as_json(self) -> dict[str, Any]:
        """What GET /v1/models tells admins."""
        return {
            "reason": self.reason,
            "message": self.message,
            "replicas": self.replicas,
            "ready_replicas": self.ready_replicas,
            "phase": self.phase or None,
            "revisions": [
                {
                    "revision": each.revision,
                    "role": each.role or None,
                    "weight": each.weight,
                    "ready": each.ready,
                }
                for each in self.revisions
            ],
        }


def status_on_cluster(service: LLMService, state: ServiceState, ready: Mapping[str, int]) -> ServiceStatus:
    """The status of an LLMService; `ready` counts the endpoints of each revision that can serve."""
    said = service.status
    weights = {each.revision: each.weight for each in said.traffic}
    roles = {said.canary_revision: "canary", said.stable_revision: "stable"}
    names = dict.fromkeys((said.stable_revision, said.canary_revision, *weights, *ready))
    wanted = said.desired_replicas
    return ServiceStatus(
        *state,
        replicas=service.spec.replicas if wanted is None else wanted,
        ready_replicas=said.ready_replicas,
        phase=said.rollout.phase,
        revisions=tuple(
            RevisionStatus(name, roles.get(name, ""), weights.get(name, 0), ready.get(name, 0))
            for name in names
            if name
        ),
    )


class _Process(BaseModel):
    revision: str
    state: str


class _Service(BaseModel):
    name: str
    revision: str
    state: State
    reason: str
    message: str
    replicas: int
    ready_replicas: int = Field(alias="readyReplicas")
    processes: tuple[_Process, ...]


class _Report(BaseModel):
    services: tuple[_Service, ...] = ()


def read_report(data: bytes) -> dict[str, ServiceStatus]:
    """Read `status.json` of a local run: service -> its status. Raises ValueError."""
    return {
        each.name: ServiceStatus(
            each.state,
            each.reason,
            each.message,
            each.replicas,
            each.ready_replicas,
            revisions=tuple(_local_revisions(each.revision, each.processes)),
        )
        for each in _Report.model_validate_json(data).services
    }


def _local_revisions(wanted: str, processes: Iterable[_Process]) -> Iterable[RevisionStatus]:
    ready: dict[str, int] = {}
    for process in processes:
        ready[process.revision] = ready.get(process.revision, 0) + (process.state == "Ready")
    for revision, count in ready.items():
        yield RevisionStatus(revision, "stable" if revision == wanted else "", None, count)
