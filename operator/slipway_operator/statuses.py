"""An LLMService's status: what people and `kubectl wait` read of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from slipway.objects import LLMService
from slipway_operator import names
from slipway_operator.autoscaling import Decision
from slipway_operator.histories import time_text
from slipway_operator.pod_states import Pods, Trouble
from slipway_operator.rollouts import Event, Step

UNDER_WAY = ("Progressing", "Paused", "Promoting")
"""Phases of a rollout that has not ended."""


@dataclass(frozen=True, slots=True)
class Story:
    """All that the status tells of."""

    service: LLMService
    before: Mapping[str, Any]
    generation: int
    decision: Decision
    step: Step | None
    """None while the first model is fetched."""
    pods: Mapping[str, Pods]
    fetch: tuple[str, str] | None
    trouble: Trouble | None
    """With the fetch."""
    history: Sequence[Mapping[str, Any]]
    now: float

    @property
    def replicas(self) -> int:
        return sum(pods.replicas for pods in self.pods.values())

    @property
    def ready(self) -> int:
        return sum(pods.ready for pods in self.pods.values())

    @property
    def worst(self) -> Trouble | None:
        """What is wrong with the pods, of the newest revision first."""
        own = self.pods.get(self.service.revision, Pods()).trouble
        return self.trouble or own or next(filter(None, (pods.trouble for pods in self.pods.values())), None)


def write_status(story: Story) -> tuple[dict[str, Any], tuple[Event, ...]]:
    """The status, and events for what has changed since the one before."""
    rolled = story.step.state.to_status() if story.step is not None else {}
    desired = story.decision.desired
    status: dict[str, Any] = {
        **rolled,
        "observedGeneration": story.generation,
        "model": story.service.served_name,
        "replicas": story.replicas,
        "readyReplicas": story.ready,
        "desiredReplicas": desired,
        "ready": f"{story.ready}/{desired}",
        "selector": f"{names.SERVICE}={story.service.metadata.name}",
        "conditions": _conditions(story),
    }
    if story.fetch is not None:
        status["fetch"] = {"phase": story.fetch[0], "message": story.fetch[1]}
    if story.service.spec.autoscaling is not None:
        status["scaling"] = _scaling(story)
    # In a history's podTemplate null is what removes a field.
    return _without_none(status) | {"history": list(story.history)}, _events(story, status)


def _scaling(story: Story) -> dict[str, Any]:
    before = story.before.get("scaling") or {}
    decision = story.decision
    said: dict[str, Any] = {
        "desired": decision.desired,
        "reason": decision.reason,
        "message": decision.message,
    }
    if (said["desired"], said["reason"]) == (before.get("desired"), before.get("reason")):
        # Numbers in the sentence change all the time; a status that did so would be written all the time.
        said["message"] = before.get("message", said["message"])
        said["lastDecisionAt"] = before.get("lastDecisionAt")
    else:
        said["lastDecisionAt"] = time_text(story.now)
    active = decision.state.active_at
    if active is not None:
        # To the minute, for the same reason.
        said["lastActiveAt"] = time_text(active - active % 60)
    return said


def _conditions(story: Story) -> list[dict[str, Any]]:
    found = [_ready(story), _progressing(story), _degraded(story)]
    if story.service.spec.autoscaling is not None:
        missing = story.decision.reason == "MetricsMissing"
        reason = story.decision.reason if missing else "MetricsRead"
        message = story.decision.message if missing else "Gateways or engines tell how much there is to do."
        found.append(("ScalingActive", "False" if missing else "True", reason, message))
    return [
        condition(story.before.get("conditions") or (), each, story.generation, story.now) for each in found
    ]


def condition(
    before: Sequence[Mapping[str, Any]], said: tuple[str, str, str, str], generation: int, now: float
) -> dict[str, Any]:
    """One condition; the time of its transition stays while its status does."""
    kind, status, reason, message = said
    old = next((each for each in before if each["type"] == kind), {})
    since = old.get("lastTransitionTime") if old.get("status") == status else None
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": since or time_text(now),
    }


def _ready(story: Story) -> tuple[str, str, str, str]:
    desired, ready = story.decision.desired, story.ready
    if ready > 0:
        return "Ready", "True", "Serving", f"{ready} of {desired} replicas answer."
    worst = story.worst
    if worst is not None:
        return "Ready", "False", worst.reason, worst.message
    if story.fetch is not None and story.fetch[0] == "Running":
        return "Ready", "False", "Fetching", story.fetch[1]
    if desired == 0:
        if story.service.spec.autoscaling is not None:
            return "Ready", "True", "ScaledToZero", "Nobody asks; the first request starts a replica."
        return "Ready", "False", "NoReplicas", "replicas is 0: `kubectl scale` it up to serve."
    progress = next(filter(None, (pods.progress for pods in story.pods.values())), "")
    return "Ready", "False", "Starting", f"{progress or 'The first replica is being made'}."


def _progressing(story: Story) -> tuple[str, str, str, str]:
    step = story.step
    if step is None:
        return "Progressing", "True", "Fetching", story.fetch[1] if story.fetch else ""
    under_way = step.state.phase in UNDER_WAY
    return "Progressing", "True" if under_way else "False", step.reason or step.state.phase, step.message


def _degraded(story: Story) -> tuple[str, str, str, str]:
    step = story.step
    if step is not None and step.state.phase == "RolledBack":
        return "Degraded", "True", step.state.reason, step.state.message
    worst, desired = story.worst, story.decision.desired
    if worst is not None and story.ready < desired:
        return "Degraded", "True", worst.reason, worst.message
    if story.ready < desired and (story.before.get("readyReplicas") or 0) > story.ready:
        return "Degraded", "True", "ReplicasLost", f"{story.ready} of {desired} replicas answer."
    if story.ready < desired and _was(story, "Degraded", "ReplicasLost"):
        return "Degraded", "True", "ReplicasLost", f"{story.ready} of {desired} replicas answer."
    return "Degraded", "False", "AsWanted", "Nothing is wrong."


def _was(story: Story, kind: str, reason: str) -> bool:
    before = story.before.get("conditions") or ()
    return any(each["type"] == kind and each["reason"] == reason for each in before)


def _events(story: Story, status: Mapping[str, Any]) -> tuple[Event, ...]:
    before = {each["type"]: each for each in story.before.get("conditions") or ()}
    events: list[Event] = []
    for now in status["conditions"]:
        old = before.get(now["type"], {})
        if (old.get("status"), old.get("reason")) == (now["status"], now["reason"]):
            continue
        bad = (now["type"] == "Ready" and now["status"] == "False") or (
            now["type"] == "Degraded" and now["status"] == "True"
        )
        if now["type"] == "Ready" and (bad or now["status"] == "True"):
            kind: Literal["Normal", "Warning"] = (
                "Normal" if now["status"] == "True" or now["reason"] in _CALM else "Warning"
            )
            events.append(Event(kind, now["reason"], now["message"]))
        elif now["type"] == "Degraded" and bad and not _told_already(story, status):
            events.append(Event("Warning", now["reason"], now["message"]))
    was = story.before.get("desiredReplicas")
    if was is not None and was != story.decision.desired:
        text = f"From {was} to {story.decision.desired} replicas: {story.decision.message}"
        events.append(Event("Normal", "Scaled", text))
    return tuple(events)


def _told_already(story: Story, status: Mapping[str, Any]) -> bool:
    """The rollout's own event tells of a rollback, and that of Ready of what keeps pods from it."""
    if story.step is not None and story.step.state.phase == "RolledBack":
        return True
    return _reason(status, "Degraded") == _reason(status, "Ready")


_CALM = ("Starting", "Fetching", "NoReplicas")


def _reason(status: Mapping[str, Any], kind: str) -> str:
    return next((each["reason"] for each in status["conditions"] if each["type"] == kind), "")


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_none(each) for each in value]
    return value
