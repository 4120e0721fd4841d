"""What a person sees of services, the same from a local run and from a cluster: rows, trees, changes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

HEAD = ("NAME", "READY", "STATE", "WEIGHT", "RESTARTS", "WHERE", "AGE", "REASON")
_LONGEST = 160
"""Characters of a reason with its message."""


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """One engine: a pod, or a process."""

    name: str
    state: str
    """Pending, Starting, Ready, Unready, Waiting, Draining, Stopping or Failed."""
    reason: str
    message: str
    restarts: int
    where: str
    """A node, or an address."""
    since: str | None
    """When it began (RFC 3339)."""


@dataclass(frozen=True, slots=True)
class RevisionView:
    """The replicas of one revision."""

    revision: str
    role: str
    """stable, canary, or nothing for one on its way out."""
    weight: int | None
    """Percent of the requests; None where they are not shared out by revision."""
    replicas: tuple[ReplicaView, ...]

    @property
    def ready(self) -> int:
        return sum(replica.state == "Ready" for replica in self.replicas)


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service."""

    namespace: str
    """"" for a local run."""
    name: str
    model: str
    state: str
    """Ready, Progressing, Degraded, Failed or Stopping."""
    reason: str
    message: str
    ready: int
    wanted: int
    revision: str
    """What serves, or begins to."""
    phase: str
    """Of the rollout; "" where there is none."""
    since: str | None
    revisions: tuple[RevisionView, ...]

    @property
    def label(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def local_view(service: dict[str, Any]) -> ServiceView:
    """A service of a local run, from `status.json`."""
    rows: dict[str, list[ReplicaView]] = {service["revision"]: []}
    for row in service["processes"]:
        rows.setdefault(row["revision"], []).append(
            ReplicaView(
                *(row["name"], row["state"], row["reason"], row["message"], row["restarts"]),
                row["address"] or "",
                row["startedAt"],
            )
        )
    return ServiceView(
        namespace="",
        name=service["name"],
        model=service["model"],
        state=service["state"],
        reason=service["reason"],
        message=service["message"],
        ready=service["readyReplicas"],
        wanted=service["replicas"],
        revision=service["revision"],
        phase="",
        since=None,
        revisions=tuple(
            RevisionView(revision, "stable" if revision == service["revision"] else "", None, tuple(replicas))
            for revision, replicas in rows.items()
            if replicas
        ),
    )


def table(services: Sequence[ServiceView], now: datetime) -> list[list[str]]:
    """One row for each service."""
    return [_service_row(each, now) for each in services]


def tree(services: Sequence[ServiceView], now: datetime) -> list[list[str]]:
    """Rows of services, their revisions, and the replicas of those; `HEAD` names the columns."""
    rows: list[list[str]] = []
    for service in services:
        rows.append(_service_row(service, now))
        for last, revision in _with_last(service.revisions):
            rows.append([f"{'└─' if last else '├─'} {revision.revision}", *_revision_row(revision)])
            before = "   " if last else "│  "
            for end, replica in _with_last(revision.replicas):
                rows.append([f"{before}{'└─' if end else '├─'} {replica.name}", *_replica_row(replica, now)])
    return rows


def _with_last(items: Sequence[Any]) -> Iterator[tuple[bool, Any]]:
    return ((at == len(items) - 1, item) for at, item in enumerate(items))


def _service_row(service: ServiceView, now: datetime) -> list[str]:
    ready = f"{service.ready}/{service.wanted}"
    return [service.label, ready, service.state, "", "", "", age(service.since, now), because(service)]


def _revision_row(revision: RevisionView) -> list[str]:
    weight = "" if revision.weight is None else f"{revision.weight}%"
    state = revision.role or "leaving"
    return [f"{revision.ready}/{len(revision.replicas)}", state, weight, "", "", "", ""]


def _replica_row(replica: ReplicaView, now: datetime) -> list[str]:
    shown = ["", replica.state, "", str(replica.restarts), replica.where, age(replica.since, now)]
    return [*shown, because(replica)]


def because(row: ServiceView | ReplicaView) -> str:
    """Reason and message on one line."""
    text = ": ".join(part for part in (row.reason, " ".join(row.message.split())) if part)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def changes(old: Sequence[ServiceView], new: Sequence[ServiceView]) -> list[str]:
    """What became different, a sentence for each: for those who read line by line."""
    before, after = _lines(old), _lines(new)
    gone = [f"{key}  gone" for key in before if key not in after]
    return [f"{key}  {text}" for key, text in after.items() if before.get(key) != text] + gone


def _lines(services: Sequence[ServiceView]) -> dict[str, str]:
    lines: dict[str, str] = {}
    for service in services:
        lines[service.label] = _said(service.state, f"{service.ready}/{service.wanted}", because(service))
        for revision in service.revisions:
            weight = "" if revision.weight is None else f"{revision.weight}%"
            key = f"{service.label}  revision {revision.revision}"
            lines[key] = _said(revision.role or "leaving", weight)
            for replica in revision.replicas:
                lines[f"{service.label}  {replica.name}"] = _said(
                    replica.state,
                    f"{replica.restarts} restarts" if replica.restarts else "",
                    because(replica),
                )
    return lines


def _said(*parts: str) -> str:
    return "  ".join(part for part in parts if part)


def age(stamp: str | None, now: datetime | None = None) -> str:
    """How long ago, as kubectl writes it: 12s, 5m, 3h, 2d."""
    if stamp is None:
        return "-"
    seconds = int(((now or datetime.now(UTC)) - datetime.fromisoformat(stamp)).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"
