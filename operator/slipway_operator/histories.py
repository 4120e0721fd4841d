"""The revisions that an LLMService has had: enough of each to run it again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from slipway.objects import LLMService
from slipway_operator.rollouts import Step

_PARTS = ("model", "engine", "cache", "adapters")
"""What of a spec makes a revision."""
_UNFINISHED = "Progressing"


def time_text(now: float) -> str:
    """Seconds since 1970 as the API server writes times."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Histories:
    """`status.history`, newest first, of one service."""

    service: LLMService
    entries: Sequence[Mapping[str, Any]]

    @property
    def deployed(self) -> tuple[str, ...]:
        """Revisions that did well, newest first: what an undo may lead to."""
        return tuple(entry["revision"] for entry in self.entries if entry.get("outcome") == "Complete")

    def service_at(self, revision: str) -> LLMService | None:
        """The service as it was at `revision`, with today's scaling and rollout; None if nobody knows."""
        if revision == self.service.revision:
            return self.service
        entry = next((entry for entry in self.entries if entry["revision"] == revision), None)
        if entry is None:
            return None
        whole = self.service.model_dump(mode="json", by_alias=True, exclude={"status"})
        rest = {name: value for name, value in whole["spec"].items() if name not in _PARTS}
        return LLMService.model_validate({**whole, "spec": {**rest, **entry["spec"]}})

    def after(self, service: LLMService, step: Step | None, now: float) -> "Histories":
        """With the revision that is being rolled out, and how it ended if it has."""
        entries = [dict(entry) for entry in self.entries]
        revision = service.revision
        newest = next((entry for entry in entries if entry["revision"] == revision), None)
        if newest is None:
            spec = service.spec.model_dump(
                mode="json", by_alias=True, exclude_defaults=True, include=set(_PARTS)
            )
            number = 1 + max((entry.get("number", 0) for entry in entries), default=0)
            newest = {"revision": revision, "number": number, "deployedAt": time_text(now), "spec": spec}
            entries.insert(0, newest | {"outcome": _UNFINISHED, "reason": ""})
        if step is not None and step.outcome is not None:
            for entry in entries:
                if entry["revision"] == step.outcome.revision:
                    entry |= {"outcome": step.outcome.result, "reason": step.outcome.reason}
        return Histories(service, _bounded(entries, service.spec.rollout.revision_history_limit, step))


def _bounded(entries: list[dict[str, Any]], limit: int, step: Step | None) -> list[dict[str, Any]]:
    """The newest `limit` beside the revisions in use."""
    used = {step.state.stable, step.state.canary, *step.replicas} if step is not None else set()
    kept, left = [], limit
    for at, entry in enumerate(entries):
        if at == 0 or entry["revision"] in used:
            kept.append(entry)
        elif left > 0:
            kept.append(entry)
            left -= 1
    return kept
