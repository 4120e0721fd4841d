"""How far a rollout is, from an LLMService's status. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from slipway.objects.scalars import Duration
from slipway.objects.states import condition
from slipway_operator.pod_states import seconds
from slipway_operator.rollout_states import RolloutState

Object = Mapping[str, Any]
State = Literal["Waiting", "Done", "Failed"]
_DEADLINE = "15m"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where it is, and the sentence that says so."""

    state: State
    text: str


def progress_of(service: Object, now: float) -> Progress:
    """The progress of `service`'s rollout; `now` is in seconds since 1970."""
    status, metadata = service.get("status") or {}, service["metadata"]
    rollout = RolloutState.from_status(status)
    if (status.get("observedGeneration") or 0) < metadata.get("generation", 0):
        return Progress("Waiting", "The operator has not looked at the last change yet.")
    if rollout.phase == "RolledBack":
        return Progress("Failed", _sentence(f"{rollout.reason}: {rollout.message}"))
    ready = f"{status.get('readyReplicas', 0)} of {status.get('desiredReplicas', 0)} replicas are ready"
    if rollout.phase == "Complete":
        return Progress("Done", f"{_sentence(rollout.message)} {ready}.")
    if rollout.phase == "Paused":
        return Progress("Waiting", f"Paused: {_sentence(rollout.message)}")
    said = rollout.message or str(condition(service, "Progressing").get("message", ""))
    if rollout.stable is None and _overdue(service, rollout, now):
        # There is nothing to return to, so the operator keeps trying; who waits need not.
        why = condition(service, "Ready")
        return Progress("Failed", _sentence(f"{why.get('reason')}: {why.get('message')}"))
    shares = ", ".join(f"{revision} {weight}%" for revision, weight in rollout.traffic)
    return Progress("Waiting", _sentence(said or ready) + (f" Requests: {shares}." if shares else ""))


def _overdue(service: Object, rollout: RolloutState, now: float) -> bool:
    spec = service["spec"].get("rollout") or {}
    deadline = Duration.of(spec.get("progressDeadline", _DEADLINE)).seconds
    since = condition(service, "Ready").get("lastTransitionTime")
    started = rollout.started_at or (seconds(since) if since else now)
    return condition(service, "Ready").get("status") != "True" and now - started >= deadline


def _sentence(text: str) -> str:
    return f"{text.rstrip('.')}."


def history_rows(service: Object) -> list[list[str]]:
    """Number, revision, role, when, outcome and reason of each revision, the newest first."""
    status = service.get("status") or {}
    roles = {status.get("canaryRevision"): "canary", status.get("stableRevision"): "stable"}
    return [
        [
            str(entry.get("number", "")),
            entry["revision"],
            roles.get(entry["revision"], ""),
            entry.get("deployedAt") or "-",
            entry.get("outcome") or "-",
            entry.get("reason") or "",
            _what(entry.get("spec") or {}),
        ]
        for entry in status.get("history") or ()
    ]


def _what(spec: Object) -> str:
    model, engine = spec.get("model") or {}, spec.get("engine") or {}
    parts = [model.get("source", ""), engine.get("image") or "", " ".join(engine.get("args") or ())]
    text = "  ".join(part for part in parts if part)
    return text if len(text) <= 80 else f"{text[:79]}…"


def revision_named(service: Object, asked: str) -> str | None:
    """The revision that `asked` means: its number, or the beginning of its name. None: no or several."""
    history = (service.get("status") or {}).get("history") or ()
    found = {
        entry["revision"]
        for entry in history
        if str(entry.get("number")) == asked or entry["revision"] == asked
    } or {entry["revision"] for entry in history if len(asked) >= 4 and entry["revision"].startswith(asked)}
    return found.pop() if len(found) == 1 else None
