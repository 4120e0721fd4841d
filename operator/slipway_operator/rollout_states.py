"""What a rollout is decided from, and what is remembered of it: all of it in the object's status."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, cast

from slipway_operator.analysis import AnalysisPolicy, AnalysisState, Baseline, Counts

Strategy = Literal["RollingUpdate", "Recreate", "BlueGreen", "Canary"]
Phase = Literal["Idle", "Progressing", "Paused", "Promoting", "RolledBack", "Complete"]


@dataclass(frozen=True)
class CanaryStep:
    """A stage of a canary: percent of the traffic, and how long it lasts at least."""

    weight: int
    pause: float | Literal["manual"] | None = None
    """Seconds; `manual`: until promoted; None: until the analysis found it good."""


@dataclass(frozen=True)
class RolloutPolicy:
    """`spec.rollout`. Durations in seconds."""

    strategy: Strategy = "RollingUpdate"
    steps: tuple[CanaryStep, ...] = ()
    analysis: AnalysisPolicy | None = None
    progress_deadline: float = 900.0
    max_surge: int = 1
    paused: bool = False
    scale_down_delay: float = 30.0
    """How long BlueGreen keeps the old replicas after the switch."""
    drain: float = 5.0
    """How long a revision gets no traffic before its last replicas go: gateways must have seen it."""


@dataclass(frozen=True)
class Broken:
    """A fault that waiting does not mend."""

    reason: str
    message: str


@dataclass(frozen=True)
class RevisionObserved:
    """One revision's replicas."""

    replicas: int
    """Wanted of its Deployment; 0 if there is none."""
    ready: int = 0
    pods: int = 0
    """That exist, starting and ending ones too."""
    broken: Broken | None = None
    counts: Counts | None = None
    """None unless every gateway answered."""


@dataclass(frozen=True)
class Command:
    """`slipway rollout VERB`, as the annotation has it."""

    verb: str
    argument: str
    text: str
    """The annotation's whole value, by which it is known as handled."""


@dataclass(frozen=True)
class Observed:
    """The world as a rollout sees it."""

    target: str
    """The spec's revision."""
    replicas: int
    """Wanted in all."""
    revisions: Mapping[str, RevisionObserved]
    command: Command | None = None
    history: Sequence[str] = ()
    """Revisions that did well and whose spec is kept, newest first."""
    held: bool = False
    """The target must not start yet."""


@dataclass(frozen=True)
class Failure:
    """A revision that is not tried again."""

    revision: str
    reason: str
    message: str


@dataclass(frozen=True)
class Undo:
    """While the spec's revision is `of`, `to` is what runs."""

    of: str
    to: str


@dataclass(frozen=True)
class Leaving:
    """A revision on its way out."""

    revision: str
    at_once: bool = False
    """It gets no traffic as soon as anything else can; otherwise it helps until the others suffice."""


@dataclass(frozen=True)
class RolloutState:
    """Where a rollout is. Times in seconds since 1970, to the millisecond."""

    stable: str | None = None
    canary: str | None = None
    """The revision that is being rolled out."""
    traffic: tuple[tuple[str, int], ...] = ()
    phase: Phase = "Idle"
    reason: str = ""
    message: str = ""
    step: int = 0
    """Of a canary, from 0; after the last one it is promoted."""
    step_started_at: float | None = None
    """When the replicas of this stage were all ready."""
    started_at: float | None = None
    waiting_since: float | None = None
    """When a replica last became ready, while more are waited for."""
    best_ready: int = 0
    paused: bool = False
    full: bool = False
    """Promoted in full: no more steps, pauses, comparisons."""
    failed: Failure | None = None
    undo: Undo | None = None
    leaving: tuple[Leaving, ...] = ()
    quiet: Mapping[str, float] = field(default_factory=dict)
    """Revision -> since when it gets no traffic."""
    analysis: AnalysisState | None = None
    handled: str | None = None
    """The last command."""

    def to_status(self) -> dict[str, Any]:
        """The part of the object's status that holds all of this, without what is empty."""
        rollout = {
            "phase": self.phase,
            "reason": self.reason,
            "message": self.message,
            "step": self.step,
            "stepStartedAt": _text(self.step_started_at),
            "startedAt": _text(self.started_at),
            "waitingSince": _text(self.waiting_since),
            "bestReady": self.best_ready,
            "paused": self.paused,
            "full": self.full,
            "failed": vars(self.failed) if self.failed else None,
            "undo": vars(self.undo) if self.undo else None,
            "leaving": [{"revision": each.revision, "atOnce": each.at_once} for each in self.leaving],
            "quiet": [{"revision": name, "since": _text(since)} for name, since in self.quiet.items()],
            "analysis": _analysis_to_status(self.analysis) if self.analysis else None,
            "handledCommand": self.handled,
        }
        status = {
            "stableRevision": self.stable,
            "canaryRevision": self.canary,
            "canaryWeight": dict(self.traffic).get(self.canary, 0) if self.canary else None,
            "traffic": [{"revision": name, "weight": weight} for name, weight in self.traffic],
            "rollout": _present(rollout),
        }
        return _present(status)

    @classmethod
    def from_status(cls, status: Mapping[str, Any]) -> "RolloutState":
        """What `to_status` wrote; a new state of an empty status."""
        rollout = status.get("rollout") or {}
        failed, undo, analysis = rollout.get("failed"), rollout.get("undo"), rollout.get("analysis")
        return cls(
            stable=status.get("stableRevision"),
            canary=status.get("canaryRevision"),
            traffic=tuple((each["revision"], each["weight"]) for each in status.get("traffic") or ()),
            phase=cast("Phase", rollout.get("phase", "Idle")),
            reason=rollout.get("reason", ""),
            message=rollout.get("message", ""),
            step=rollout.get("step", 0),
            step_started_at=_seconds(rollout.get("stepStartedAt")),
            started_at=_seconds(rollout.get("startedAt")),
            waiting_since=_seconds(rollout.get("waitingSince")),
            best_ready=rollout.get("bestReady", 0),
            paused=rollout.get("paused", False),
            full=rollout.get("full", False),
            failed=Failure(**failed) if failed else None,
            undo=Undo(**undo) if undo else None,
            leaving=tuple(
                Leaving(each["revision"], each.get("atOnce", False)) for each in rollout.get("leaving") or ()
            ),
            quiet={each["revision"]: _time(each["since"]) for each in rollout.get("quiet") or ()},
            analysis=_analysis_from_status(analysis) if analysis else None,
            handled=rollout.get("handledCommand"),
        )


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _text(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time(text: str) -> float:
    return round(datetime.fromisoformat(text).timestamp(), 3)


def _seconds(text: str | None) -> float | None:
    return None if text is None else _time(text)


def _analysis_to_status(state: AnalysisState) -> dict[str, Any]:
    base = state.baseline
    return _present(
        {
            "startedAt": _text(state.started_at),
            "failures": state.failures,
            "good": state.good,
            "baseline": _present({"errorRate": base.error_rate, "latency": base.latency}) if base else None,
            "verdict": dict(zip(("reason", "message"), state.verdict, strict=True))
            if state.verdict
            else None,
            "counts": [
                {
                    "revision": revision,
                    "requests": counts.requests,
                    "errors": counts.errors,
                    "firstByte": {
                        "+Inf" if math.isinf(bound) else repr(bound): count
                        for bound, count in counts.first_byte.items()
                    },
                }
                for revision, counts in state.counts.items()
            ],
        }
    )


def _analysis_from_status(status: Mapping[str, Any]) -> AnalysisState:
    base, verdict = status.get("baseline"), status.get("verdict")
    return AnalysisState(
        started_at=_time(status["startedAt"]),
        failures=status.get("failures", 0),
        good=status.get("good", False),
        baseline=Baseline(base["errorRate"], base.get("latency")) if base else None,
        verdict=(verdict["reason"], verdict["message"]) if verdict else None,
        counts={
            each["revision"]: Counts(
                each["requests"],
                each["errors"],
                {float(bound): count for bound, count in (each.get("firstByte") or {}).items()},
            )
            for each in status.get("counts") or ()
        },
    )
