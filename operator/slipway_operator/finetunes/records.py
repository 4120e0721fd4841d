"""What is remembered of each stage, in the FineTune's status: its state, and what it was done for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from slipway.objects import FineTune
from slipway.objects.annotations import RETRY
from slipway.objects.finetunes import ASKED, STAGES, Stage
from slipway_operator import names
from slipway_operator.histories import time_text

State = Literal["Waiting", "Running", "Succeeded", "Failed", "Suspended", "Cancelled"]


@dataclass(frozen=True, slots=True)
class Record:
    """One of `status.stages`."""

    name: Stage
    state: State = "Waiting"
    attempts: int = 0
    reason: str = ""
    message: str = ""
    token: str = ""
    """Digest of all that the stage depends on."""
    retry: str = ""
    """The last wish to do it again."""
    started_at: str | None = None
    completed_at: str | None = None

    def to_status(self) -> dict[str, Any]:
        """As the status holds it, without what is empty."""
        said = {
            "name": self.name,
            "state": self.state,
            "attempts": self.attempts,
            "reason": self.reason,
            "message": self.message,
            "token": self.token,
            "retry": self.retry,
            "startedAt": self.started_at,
            "completedAt": self.completed_at,
        }
        return {name: value for name, value in said.items() if value not in (None, "")}

    @classmethod
    def from_status(cls, said: Mapping[str, Any]) -> "Record":
        """What `to_status` wrote."""
        return cls(
            name=cast("Stage", said["name"]),
            state=cast("State", said.get("state", "Waiting")),
            attempts=said.get("attempts", 0),
            reason=said.get("reason", ""),
            message=said.get("message", ""),
            token=said.get("token", ""),
            retry=said.get("retry", ""),
            started_at=said.get("startedAt"),
            completed_at=said.get("completedAt"),
        )


def records(fine_tune: FineTune, parent: Mapping[str, Any]) -> list[Record]:
    """The record of each stage, begun anew where what the stage depends on is another thing by now."""
    held = {each["name"]: Record.from_status(each) for each in _held(parent)}
    asked = retry_of(parent)
    spec = fine_tune.spec.model_dump(mode="json", exclude_defaults=True)
    made, token = [], ""
    for stage in fine_tune.stages:
        record = held.get(stage, Record(stage))
        retry = record.retry
        if asked is not None and STAGES.index(stage) >= STAGES.index(asked[0]):
            retry = asked[1]
        # What has its default is left out: a field that a later version adds must begin nothing anew.
        parts = {name: spec.get(name) for name in ASKED[stage]}
        token = names.digest({"before": token, "spec": parts, "retry": retry})
        if record.token != token:
            record = Record(stage, attempts=record.attempts, token=token, retry=retry)
        made.append(record)
    return made


def retry_of(parent: Mapping[str, Any]) -> tuple[Stage, str] | None:
    """The stage that is to be done again, and the annotation's whole value."""
    text = (parent["metadata"].get("annotations") or {}).get(RETRY, "")
    stage, at, when = text.partition("@")
    return (cast("Stage", stage), text) if at and when and stage in STAGES else None


def _held(parent: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return (parent.get("status") or {}).get("stages") or ()


def ended(record: Record, now: float) -> str:
    """When it ended: as it says, or now."""
    return record.completed_at or time_text(now)
