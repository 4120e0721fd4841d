"""The state of an LLMService as people read it: a word, a reason, a sentence. Pure; objects are dicts."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Object = Mapping[str, Any]

State = Literal["Ready", "Progressing", "Degraded", "Failed", "Stopping"]
"""Degraded: something is wrong, and some replicas serve; Failed: none does."""


class ServiceState(NamedTuple):
    """How a service is doing, in the words of a local run."""

    state: State
    reason: str
    """One CamelCase word."""
    message: str
    """A sentence for people; may be empty."""


def service_state(service: Object) -> ServiceState:
    """The state of an LLMService by its conditions."""
    status = service.get("status") or {}
    if service["metadata"].get("deletionTimestamp"):
        return ServiceState("Stopping", "Removed", "")
    ready, progressing, degraded = (condition(service, kind) for kind in ("Ready", "Progressing", "Degraded"))
    if not ready:
        return ServiceState("Progressing", "NotSeen", "The operator has not looked at it yet.")
    serves = bool(status.get("readyReplicas"))
    if degraded.get("status") == "True":
        return ServiceState("Degraded" if serves else "Failed", *_why(degraded))
    if progressing.get("status") == "True":
        return ServiceState("Progressing", *_why(progressing if serves else ready))
    if ready.get("reason") == "NoReplicas":
        return ServiceState("Ready", "NoReplicas", "")
    if ready.get("status") != "True":
        return ServiceState("Progressing", *_why(ready))
    return ServiceState("Ready", str(ready.get("reason", "")), "")


def _why(said: Object) -> tuple[str, str]:
    return str(said.get("reason", "")), str(said.get("message", ""))


def condition(item: Object, kind: str) -> Object:
    """The condition of this type; empty if there is none."""
    conditions = (item.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind), {})
