"""A FineTune's status: what people and `kubectl wait` read of it, and the events that come of its changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.objects import FineTune
from slipway.objects.states import condition as condition_of
from slipway_operator.finetunes.records import Record
from slipway_operator.finetunes.results import decimals
from slipway_operator.histories import time_text
from slipway_operator.pod_states import Trouble
from slipway_operator.rollouts import Event
from slipway_operator.statuses import condition

PHASES = {
    "prepare": "Preparing",
    "search": "Searching",
    "train": "Training",
    "evaluate": "Evaluating",
    "register": "Registering",
    "deploy": "Deploying",
}
_OVER = ("Succeeded", "Failed", "Cancelled")


@dataclass(frozen=True, slots=True)
class Story:
    """All that the status tells of."""

    fine_tune: FineTune
    before: Mapping[str, Any]
    generation: int
    records: tuple[Record, ...]
    results: Mapping[str, Any]
    """Fields of the status that came of stages in this turn."""
    trouble: Trouble | None
    computing: bool
    progress: Mapping[str, Any] | None
    now: float

    @property
    def current(self) -> Record | None:
        """The first stage that is not done."""
        return next((each for each in self.records if each.state != "Succeeded"), None)

    @property
    def phase(self) -> str:
        current = self.current
        if current is None:
            return "Succeeded"
        if current.state in ("Failed", "Suspended", "Cancelled"):
            return current.state
        if current is self.records[0] and current.started_at is None:
            return "Pending"
        return PHASES[current.name]


def write_status(story: Story) -> tuple[dict[str, Any], tuple[Event, ...]]:
    """The status, and events for what has changed since the one before."""
    before, phase = story.before, story.phase
    kept = ("dataset", "trials", "bestTrial", "metrics", "metric", "artifact", "adapter", "startedAt")
    status: dict[str, Any] = {name: before[name] for name in kept if name in before}
    status |= story.results
    status |= {
        "observedGeneration": story.generation,
        "phase": phase,
        "stages": [each.to_status() for each in story.records],
        "progress": _progress(story),
        "conditions": _conditions(story),
    }
    if "startedAt" not in status and phase != "Pending":
        status["startedAt"] = time_text(story.now)
    if phase in _OVER:
        ended = before.get("completedAt") if before.get("phase") == phase else None
        status["completedAt"] = ended or time_text(story.now)
    status = {name: value for name, value in status.items() if value not in (None, "", [], {})}
    return status, _events(story, status)


def _progress(story: Story) -> dict[str, Any] | None:
    if not story.computing:
        return None
    told = story.progress
    if told is None:
        # Nobody has asked yet, as after a restart of the operator.
        return story.before.get("progress") if story.before.get("phase") == story.phase else None
    step, total, eta = int(told.get("step") or 0), told.get("total_steps"), told.get("eta_seconds")
    said: dict[str, Any] = {"step": step, "message": str(told.get("message") or "")[:1024]}
    if total:
        said |= {"totalSteps": int(total), "steps": f"{step}/{int(total)}"}
    if isinstance(eta, int | float) and eta >= 0:
        said |= {"etaSeconds": round(eta), "eta": span(round(eta))}
    metrics = decimals(dict(list((told.get("metrics") or {}).items())[:16]))
    return said | ({"metrics": metrics} if metrics else {})


def span(seconds: int) -> str:
    """A time span as people say it: `40s`, `3m20s`, `2h5m`."""
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60}s"
    return f"{seconds // 3600}h{seconds % 3600 // 60}m"


def _conditions(story: Story) -> list[dict[str, Any]]:
    found = (_ready(story), _progressing(story), _degraded(story))
    before = story.before.get("conditions") or ()
    return [condition(before, each, story.generation, story.now) for each in found]


def _ready(story: Story) -> tuple[str, str, str, str]:
    current = story.current
    if current is None:
        last = story.records[-1]
        reason = last.reason or ("Deployed" if last.name == "deploy" else "Succeeded")
        return "Ready", "True", reason, last.message
    reason = current.reason or story.phase
    return "Ready", "False", reason, f"{current.name}: {current.message or 'waits for its turn.'}"


def _progressing(story: Story) -> tuple[str, str, str, str]:
    current, phase = story.current, story.phase
    if current is None or current.state in ("Failed", "Suspended", "Cancelled"):
        reason = phase if current is None else current.reason or phase
        return "Progressing", "False", reason, current.message if current is not None else "All is done."
    return "Progressing", "True", current.reason or phase, _what(story, current)


def _what(story: Story, current: Record) -> str:
    # The stage's own words change all the time; they are in status.progress.
    attempt = f", attempt {current.attempts}" if current.attempts > 1 else ""
    return f"{PHASES[current.name]}{attempt}."


def _degraded(story: Story) -> tuple[str, str, str, str]:
    current = story.current
    if current is not None and current.state == "Failed":
        return "Degraded", "True", current.reason, current.message
    if story.trouble is not None:
        return "Degraded", "True", story.trouble.reason, story.trouble.message
    return "Degraded", "False", "AsWanted", "Nothing is wrong."


def _events(story: Story, status: Mapping[str, Any]) -> tuple[Event, ...]:
    held = {each["name"]: Record.from_status(each) for each in story.before.get("stages") or ()}
    events: list[Event] = []
    for record in story.records:
        event = _event(held.get(record.name, Record(record.name)), record)
        if event is not None:
            events.append(event)
    told = {event.reason for event in events}
    old, new = (condition_of({"status": each}, "Degraded") for each in (story.before, status))
    changed = (old.get("status"), old.get("reason")) != (new["status"], new["reason"])
    if new["status"] == "True" and changed and new["reason"] not in told:
        events.append(Event("Warning", new["reason"], new["message"]))
    return tuple(events)


def _event(old: Record, new: Record) -> Event | None:
    if (old.state, old.attempts, old.reason) == (new.state, new.attempts, new.reason):
        return None
    if new.state == "Failed":
        return Event("Warning", new.reason, f"{new.name}: {new.message}")
    if new.state == "Succeeded" and old.state != "Succeeded":
        return Event("Normal", "StageSucceeded", f"{new.name}: {new.message}")
    if new.state == "Running" and new.attempts > old.attempts and new.name != "deploy":
        again = f" (attempt {new.attempts})" if new.attempts > 1 else ""
        return Event("Normal", "StageStarted", f"{new.name} begins{again}.")
    if new.state == "Waiting" and new.reason not in ("", "PodEnding"):
        return Event("Warning", new.reason, f"{new.name}: {new.message}")
    if new.state in ("Suspended", "Cancelled") and old.state != new.state:
        return Event("Normal", new.state, f"{new.name}: {new.message}")
    return None
