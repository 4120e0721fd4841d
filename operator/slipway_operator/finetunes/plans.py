"""What a FineTune asks of the cluster, decided without doing any of it.

`plan` compares the object with what was observed, as that of LLMServices does: called again with what came of
the plan it returns what is left to do, and killed anywhere in between it goes on from status and children.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from slipway.kube.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    NETWORK_POLICY,
    SERVICE,
    TRAIN_JOB,
    TRAINING_RUNTIME,
    Kind,
)
from slipway.objects import FineTune
from slipway.objects.finetunes import DeploySpec
from slipway_operator import names
from slipway_operator.finetunes import children as made
from slipway_operator.finetunes.attempts import Children, End, Outcome, Seen, attempts, living
from slipway_operator.finetunes.children import Attempt, Ends
from slipway_operator.finetunes.deploying import deployment
from slipway_operator.finetunes.records import Record, records
from slipway_operator.finetunes.results import absorb
from slipway_operator.finetunes.statuses import Story, write_status
from slipway_operator.histories import time_text
from slipway_operator.plans import Plan
from slipway_operator.pod_states import Trouble, job_state
from slipway_operator.settings import OperatorSettings

Object = dict[str, Any]
_MOST_CRASHES = 3
"""Attempts in a row that may end without a word, before a stage is given up."""
_LONGEST_WAIT = 300.0
"""Seconds between two attempts, at most."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The world around one FineTune."""

    children: Children = field(default_factory=dict)
    progress: Mapping[str, Any] | None = None
    """What the running stage told last."""
    service: Object | None = None
    """The LLMService that `spec.deploy` names, if it is there."""
    newer: str | None = None
    """A FineTune that has brought a newer version of the same adapter to it."""
    optional: frozenset[str] = frozenset()
    """Plurals of the optional kinds that this cluster has."""


def plan(
    fine_tune: FineTune, parent: Object, observed: Observed, settings: OperatorSettings, now: float
) -> Plan:
    """The next steps for `fine_tune`, parsed from `parent`. `now` is in seconds since 1970."""
    turn = _Turn(fine_tune, parent, observed, settings, now)
    turn.walk()
    turn.tidy()
    status, events = write_status(turn.story())
    return Plan(
        apply=tuple(turn.apply),
        delete=tuple(turn.delete),
        status=status,
        events=events,
        again_after=turn.again_after,
    )


class _Turn:
    """One call of `plan`: what it has found so far, and what it wants done."""

    def __init__(
        self, fine_tune: FineTune, parent: Object, observed: Observed, settings: OperatorSettings, now: float
    ) -> None:
        self.fine_tune, self.parent, self.observed = fine_tune, parent, observed
        self.settings, self.now = settings, now
        self.apply: list[Object] = made.shared(fine_tune, parent, settings)
        self.delete: list[tuple[Kind, Object]] = []
        self.again_after: float | None = None
        self.results: dict[str, Any] = {}
        self.records: list[Record] = []
        self.trouble: Trouble | None = None
        self.computing = False

    def walk(self) -> None:
        """Go through the stages up to the first that is not done."""
        blocked = False
        for record in records(self.fine_tune, self.parent):
            asked = self.fine_tune.spec.deploy
            if record.name == "deploy" and asked is not None:
                done = self.deploy(record, asked) if not blocked else _waiting(record)
            else:
                done = self.stage(record, blocked)
            self.records.append(done)
            blocked = blocked or done.state != "Succeeded"

    # --- a stage and its Jobs

    def stage(self, record: Record, blocked: bool) -> Record:
        """The record of a stage after this turn."""
        seen = attempts(self.observed.children, record.name, self.now)
        current = next((each for each in seen if each.token == record.token and not each.leaving), None)
        if record.state == "Failed" and current is not None and self.differs(current, record):
            record = replace(record, state="Waiting", completed_at=None)
            return self.begin(record, seen, Ends())
        if blocked or record.state in ("Succeeded", "Failed"):
            self.end(each for each in seen if blocked or each is not current)
            return _waiting(record) if blocked else record
        if current is not None:
            record = replace(record, attempts=max(record.attempts, current.number))
            if current.outcome is not None:
                return self.outcome(record, current.outcome)
        spec = self.fine_tune.spec
        if spec.cancel or spec.suspend:
            self.end(seen)
            if spec.cancel:
                message = "Cancelled; what is there is kept."
                return replace(record, state="Cancelled", reason="Cancelled", message=message)
            message = "Suspended; it goes on from its last checkpoint when spec.suspend is false again."
            return replace(record, state="Suspended", reason="Suspended", message=message)
        if current is None:
            return self.begin(record, seen, Ends())
        self.end(each for each in seen if each is not current)
        if current.end is not None:
            return self.ended(record, seen, current, current.end)
        return self.running(record, current)

    def outcome(self, record: Record, outcome: Outcome) -> Record:
        """A stage that has said what came of it."""
        record = replace(record, message=outcome.message, completed_at=time_text(self.now))
        if not outcome.succeeded:
            return replace(record, state="Failed", reason=outcome.reason or "StageFailed")
        self.results |= absorb(self.fine_tune, record.name, outcome.result)
        return replace(record, state="Succeeded", reason="")

    def ended(self, record: Record, every: list[Seen], seen: Seen, end: End) -> Record:
        """A stage that ended without an outcome: begun again where that may help."""
        ends = seen.ends
        if end.kind in ("memory", "deadline"):
            return self.failed(record, end)
        if end.kind == "crashed":
            ends = replace(ends, crashed=ends.crashed + 1)
            if ends.crashed >= _MOST_CRASHES:
                return self.failed(record, end)
        else:
            ends = replace(ends, interrupted=ends.interrupted + 1)
        times = ends.interrupted + ends.crashed
        due = end.at + min(_LONGEST_WAIT, self.settings.interruption_wait * 2.0 ** min(times - 1, 16))
        if self.now < due:
            self.after(due - self.now)
            message = f"{end.message[:1].upper()}{end.message[1:]}. It goes on from its last checkpoint."
            if end.kind == "crashed":
                self.trouble = Trouble(end.reason, message)
            return replace(record, state="Waiting", reason=end.reason, message=message)
        return self.begin(record, every, ends)

    def failed(self, record: Record, end: End) -> Record:
        """A stage that nothing but somebody's hand can help."""
        message = f"{end.message[:1].upper()}{end.message[1:]}."
        return replace(
            record,
            state="Failed",
            reason=end.reason,
            message=message.replace("..", "."),
            completed_at=time_text(self.now),
        )

    def running(self, record: Record, seen: Seen) -> Record:
        """A stage whose Job runs, or is about to."""
        self.trouble = seen.trouble
        self.computing = seen.computing
        if seen.trouble is not None:
            self.after(10.0)  # Whether an image can be pulled at all is a matter of time.
            return replace(record, state="Running", reason=seen.trouble.reason, message=seen.trouble.message)
        message = "Its pod starts."
        if seen.computing:
            message = (self.observed.progress or {}).get("message") or "Its pod runs."
        else:
            self.after(11.0)
        started = record.started_at or (time_text(self.now) if seen.computing else None)
        return replace(record, state="Running", reason="", message=message, started_at=started)

    def begin(self, record: Record, seen: list[Seen], ends: Ends) -> Record:
        """Another attempt, once nothing of the ones before it is at work any more."""
        busy = [each for each in seen if not each.over]
        self.end(busy)
        if busy or living(self.observed.children):
            message = "It begins when the pod of the attempt before it has ended."
            return replace(record, state="Waiting", reason="PodEnding", message=message)
        number = max([record.attempts, *(each.number for each in seen)]) + 1
        attempt = Attempt(record.name, number, record.token, record.retry, ends)
        self.apply.append(made.spec_map(self.fine_tune, self.parent))
        self.apply += self.job(attempt)
        self.end(seen)
        return replace(record, state="Running", attempts=number, reason="", message="Its pod starts.")

    def differs(self, seen: Seen, record: Record) -> bool:
        """Whether the attempt's Job would be another one today, as after a change of spec.resources."""
        applied = (seen.job["metadata"].get("annotations") or {}).get(names.DIGEST)
        attempt = Attempt(record.name, seen.number, record.token, record.retry, seen.ends)
        return applied not in (None, names.digest(self.job(attempt)[-1]))

    def job(self, attempt: Attempt) -> list[Object]:
        """What carries an attempt out."""
        several = attempt.stage == "train" and self.fine_tune.spec.nodes > 1
        if several and TRAIN_JOB.plural in self.observed.optional:
            return made.train_job(self.fine_tune, attempt, self.parent, self.settings)
        return [made.stage_job(self.fine_tune, attempt, self.parent, self.settings)]

    def end(self, seen: Any) -> None:
        """Delete Jobs, and with them their pods, which are asked to stop first."""
        for each in seen:
            if not each.leaving and (each.kind, each.job) not in self.delete:
                self.delete.append((each.kind, each.job))

    def after(self, seconds: float) -> None:
        """Look again in so many seconds at the latest."""
        self.again_after = min(seconds, self.again_after or seconds)

    # --- the way to the engines

    def deploy(self, record: Record, asked: DeploySpec) -> Record:
        """The last stage has no Job: engines are told by the operator."""
        artifact = self.results.get("artifact") or (self.parent.get("status") or {}).get("artifact") or {}
        found = deployment(self.fine_tune, asked, artifact, self.observed.service, self.observed.newer)
        self.trouble = found.trouble
        self.results["adapter"] = found.adapter
        if self.fine_tune.spec.storage.artifacts is None and artifact.get("kind") == "adapter":
            self.apply += made.artifact_server(self.fine_tune, self.parent, self.settings)
        over = found.state in ("Succeeded", "Failed")
        kept = record.completed_at if record.state == found.state else None
        return replace(
            record,
            state=found.state,
            reason=found.reason,
            message=found.message,
            attempts=1,
            started_at=record.started_at or time_text(self.now),
            completed_at=(kept or time_text(self.now)) if over else None,
        )

    # --- what is left over

    def tidy(self) -> None:
        """Delete what nothing needs any more."""
        wanted = {(each["kind"], each["metadata"]["name"]) for each in self.apply}
        deleted = {item["metadata"]["uid"] for _, item in self.delete}
        used = {
            volume["configMap"]["name"]
            for (kind, _), job in self.observed.children.items()
            if kind == JOB and job["metadata"]["uid"] not in deleted and job_state(job)[0] == "Running"
            for volume in job["spec"]["template"]["spec"].get("volumes", ())
            if "configMap" in volume
        }
        for (kind, name), item in self.observed.children.items():
            if kind not in _TIDIED or (kind.kind, name) in wanted or name in used:
                continue
            if kind == TRAINING_RUNTIME and (TRAIN_JOB, name) in self.observed.children:
                continue
            self.delete.append((kind, item))

    def story(self) -> Story:
        """What the status is to tell."""
        return Story(
            fine_tune=self.fine_tune,
            before=self.parent.get("status") or {},
            generation=int(self.parent["metadata"].get("generation", 0)),
            records=tuple(self.records),
            results=self.results,
            trouble=self.trouble,
            computing=self.computing,
            progress=self.observed.progress,
            now=self.now,
        )


_TIDIED = (CONFIG_MAP, DEPLOYMENT, SERVICE, NETWORK_POLICY, TRAINING_RUNTIME)


def _waiting(record: Record) -> Record:
    """A stage whose turn has not come; done before, it is still so once what comes before it is again."""
    if record.state == "Succeeded":
        return record
    return replace(record, state="Waiting", reason="", message="", completed_at=None)
