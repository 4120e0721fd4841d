"""Rollouts: from what is observed to how many replicas and how much traffic each revision gets next.

`advance` is a pure function of the policy, what is remembered (all of it in the object's status) and what
is seen. It may be asked at any time and any number of times: an operator that was killed goes on from there.

A revision in the spec that is not the stable one is rolled out by the strategy and becomes the stable one, or
is taken back and then not tried again. Whatever happens, traffic goes to ready replicas if there are any, and
the last replicas of a revision go when it had no traffic for a moment, so that gateways have seen it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from slipway.objects import LLMServiceSpec
from slipway.objects.rollouts import Step as CanaryStage
from slipway.objects.scalars import Pause
from slipway_operator.analysis import AnalysisPolicy, Counts, observe
from slipway_operator.rollout_states import (
    Broken,
    CanaryStep,
    Command,
    Failure,
    Leaving,
    Observed,
    RevisionObserved,
    RolloutPolicy,
    RolloutState,
    Undo,
)
from slipway_operator.strategies import Moment, Wants, want
from slipway_operator.traffic import shares


@dataclass(frozen=True)
class Event:
    """What a person is told."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Outcome:
    """How a revision's rollout ended; told in the step in which it did."""

    revision: str
    result: Literal["Complete", "RolledBack", "Superseded", "Aborted"]
    reason: str
    message: str


@dataclass(frozen=True)
class Step:
    """What is to be done now."""

    replicas: dict[str, int]
    """Of every revision that is wanted or exists; one with 0 may go when its pods are gone."""
    traffic: tuple[tuple[str, int], ...]
    """Revision and percent: above 0, and 100 in sum. Empty before the first deployment."""
    state: RolloutState
    reason: str
    message: str
    events: tuple[Event, ...] = ()
    again_after: float | None = None
    """Seconds after which time alone may change something."""
    outcome: Outcome | None = None


def policy_of(spec: LLMServiceSpec) -> RolloutPolicy:
    """The policy in `spec.rollout`."""
    rollout, analysis = spec.rollout, spec.rollout.analysis
    return RolloutPolicy(
        strategy=rollout.strategy,
        steps=steps_of(rollout.steps),
        analysis=AnalysisPolicy(
            interval=analysis.interval.seconds,
            min_requests=analysis.min_requests,
            max_error_rate=analysis.max_error_rate.number,
            max_latency_factor=analysis.max_latency_factor.number,
            failure_limit=analysis.failure_limit,
        ),
        progress_deadline=rollout.progress_deadline.seconds,
        max_surge=rollout.max_surge,
        paused=rollout.paused,
    )


def steps_of(steps: Iterable[CanaryStage]) -> tuple[CanaryStep, ...]:
    """The stages of a canary, as an object has them."""
    return tuple(CanaryStep(step.weight, _pause(step.pause)) for step in steps)


def _pause(pause: Pause | None) -> float | Literal["manual"] | None:
    if pause is None:
        return None
    return "manual" if pause.seconds is None else pause.seconds


def command_of(annotation: str | None) -> Command | None:
    """Reads `<verb>[:argument]@<unix milliseconds>`; None if there is none."""
    if not annotation:
        return None
    verb, _, argument = annotation.rpartition("@")[0].partition(":")
    return Command(verb.strip(), argument.strip(), annotation)


def advance(policy: RolloutPolicy, state: RolloutState, observed: Observed, now: float) -> Step:
    """The next step at `now` (seconds since 1970)."""
    turn = _Turn(policy, state, observed, round(now, 3))
    turn.obey()
    turn.aim()
    turn.judge()
    return turn.step(turn.move())


class _Turn:
    """One call of `advance`: the state as it changes, and what is told of it."""

    def __init__(self, policy: RolloutPolicy, state: RolloutState, observed: Observed, now: float) -> None:
        self.policy, self.before, self.state, self.observed, self.now = policy, state, state, observed, now
        self.events: list[Event] = []
        self.outcome: Outcome | None = None

    @property
    def moment(self) -> Moment:
        return Moment(self.policy, self.state, self.observed, self.now)

    def set(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)

    def tell(self, reason: str, message: str, warning: bool = False) -> None:
        self.events.append(Event("Warning" if warning else "Normal", reason, message))

    # Commands

    def obey(self) -> None:
        """Carries a command out, once."""
        command = self.observed.command
        if command is None or command.text == self.state.handled:
            return
        self.set(handled=command.text)
        carry_out = {
            "pause": self.pause,
            "resume": self.resume,
            "promote": self.promote,
            "abort": self.abort,
            "undo": self.undo,
            "retry": self.retry,
        }.get(command.verb)
        if carry_out is None:
            self.tell("UnknownCommand", f"There is no rollout command {command.verb!r}.", warning=True)
            return
        carry_out(command.argument)

    def pause(self, _: str) -> None:
        self.set(paused=True)
        self.tell("RolloutPaused", "Paused; `slipway rollout resume` goes on.")

    def resume(self, _: str) -> None:
        self.set(paused=False)
        if self.policy.paused:
            self.tell("StillPaused", "spec.rollout.paused is true; set it to false to go on.", warning=True)
        else:
            self.tell("RolloutResumed", "The rollout goes on.")

    def promote(self, argument: str) -> None:
        if self.state.canary is None:
            self.tell("NothingToPromote", "No rollout is going on.", warning=True)
            return
        by_steps = self.policy.strategy == "Canary" and self.state.step < len(self.policy.steps)
        if argument == "full" or not by_steps:
            self.set(full=True, paused=False)
            self.tell("Promoted", f"Revision {self.state.canary} is promoted in full.")
        else:
            self.next_step()
            self.set(paused=False)
            self.tell("Promoted", f"Revision {self.state.canary} is promoted to its next step.")

    def abort(self, _: str) -> None:
        if self.state.canary is None:
            self.tell("NothingToAbort", "No rollout is going on.", warning=True)
        elif self.state.stable is None:
            self.tell(
                "NothingToReturnTo", "The first deployment has none before it; change the spec.", warning=True
            )
        else:
            self.roll_back("Aborted", "the rollout was aborted")

    def undo(self, argument: str) -> None:
        state = self.state
        if state.canary is not None and state.stable is not None and argument in ("", state.stable):
            self.abort("")
            return
        bad = state.failed.revision if state.failed else None
        others = [name for name in self.observed.history if name not in (state.stable, state.canary, bad)]
        to = argument or next(iter(others), "")
        if to not in (*self.observed.history, self.observed.target):
            what = f"Revision {to} is not in the history" if to else "There is no revision before this one"
            self.tell("NothingToUndo", f"{what}; nothing was changed.", warning=True)
            return
        self.set(failed=None, undo=None if to == self.observed.target else Undo(self.observed.target, to))
        self.tell("Undone", f"Returns to revision {to}.")

    def retry(self, _: str) -> None:
        if self.state.failed is None and self.state.undo is None and self.state.stable is not None:
            self.tell("NothingToRetry", "No revision was taken back.", warning=True)
            return
        self.set(failed=None, undo=None, waiting_since=None)
        self.tell("Retried", f"Revision {self.observed.target} is tried again.")

    # Transitions

    def aim(self) -> None:
        """Ends a rollout that is not asked for any more, and begins the one that is."""
        if self.state.undo is not None and self.state.undo.of != self.observed.target:
            self.set(undo=None)
        target = self.state.undo.to if self.state.undo is not None else self.observed.target
        if not self.observed.held and self.state.failed is not None and self.state.failed.revision != target:
            self.set(failed=None)
        held = self.observed.held and target != self.state.stable
        if self.state.canary is not None and self.state.canary != target and not held:
            self.supersede(self.state.canary, target)
        state = self.state
        if state.canary is not None:
            return
        if target == state.stable:
            if state.failed is None and state.phase != "Complete":
                self.set(phase="Complete", reason="Complete", message=f"Revision {target} is rolled out.")
        elif state.failed is None:
            self.begin(target)

    def supersede(self, canary: str, target: str) -> None:
        message = f"Revision {target} replaces {canary} before that was rolled out."
        if target == self.state.stable:
            message = f"The spec returned to revision {target} before {canary} was rolled out."
        if self.state.stable is None and self.moment.ready > 0:
            # It serves, if not in full: nothing else does.
            self.end(stable=canary)
        else:
            self.end(leaving=(*self.state.leaving, Leaving(canary)))
        self.set(phase="Complete", reason="ReturnedToStable", message=message)
        self.outcome = Outcome(canary, "Superseded", "Superseded", message)
        self.tell("RolloutSuperseded", message)

    def begin(self, target: str) -> None:
        paused = self.moment.paused
        if paused or self.observed.held:
            reason = "Paused" if paused else "Held"
            message = f"The rollout of revision {target} is paused before its start."
            if not paused:
                message = f"The rollout of revision {target} waits for its model."
            self.set(phase="Paused" if paused else "Progressing", reason=reason, message=message)
            return
        self.set(
            canary=target,
            started_at=self.now,
            full=self.state.undo is not None,
            phase="Progressing",
            leaving=tuple(each for each in self.state.leaving if each.revision != target),
        )
        instead = f", instead of {self.state.stable}" if self.state.stable else ""
        self.tell("RolloutStarted", f"Rolls out revision {target} by {self.policy.strategy}{instead}.")

    def end(self, **changes: Any) -> None:
        """Forgets what belongs to one rollout."""
        self.set(
            canary=None,
            step=0,
            step_started_at=None,
            started_at=None,
            waiting_since=None,
            best_ready=0,
            full=False,
            analysis=None,
        )
        self.set(**changes)

    def roll_back(self, reason: str, why: str) -> None:
        canary, stable = self.state.canary, self.state.stable
        if canary is None:
            return
        message = f"Revision {canary} was taken back to {stable}: {why}."
        leaving = Leaving(canary, at_once=reason == "ErrorRate")
        self.end(failed=Failure(canary, reason, message), leaving=(*self.state.leaving, leaving))
        self.set(phase="RolledBack", reason=reason, message=message)
        self.outcome = Outcome(canary, "Aborted" if reason == "Aborted" else "RolledBack", reason, message)
        mend = "A changed spec, or `slipway rollout retry`, tries again."
        self.tell("RolledBack", f"{message} {mend}", warning=True)

    def complete(self) -> None:
        new, old = self.state.canary, self.state.stable
        leaving = self.state.leaving if old is None else (*self.state.leaving, Leaving(old))
        undone = self.state.undo
        message = f"Revision {new} is rolled out."
        if undone is not None:
            message = f"Returned to revision {new}; the spec still asks for {undone.of}."
        self.end(stable=new, leaving=leaving)
        self.set(phase="Complete", reason="Undone" if undone else "Complete", message=message)
        if new is not None:
            self.outcome = Outcome(new, "Complete", "Complete", message)
        self.tell("RolloutComplete", message)

    def next_step(self) -> None:
        self.set(step=self.state.step + 1, step_started_at=None, **self.unjudged())

    def unjudged(self) -> dict[str, Any]:
        analysis = self.state.analysis
        return {"analysis": replace(analysis, good=False) if analysis is not None else None}

    # Judgement

    def judge(self) -> None:
        """Takes the new revision back if it cannot start, fails or is slow."""
        canary, stable, policy = self.state.canary, self.state.stable, self.policy.analysis
        if canary is None or stable is None or self.observed.replicas == 0:
            return
        seen = self.moment.of(canary)
        if seen.broken is not None and seen.ready < max(1, seen.replicas):
            self.roll_back(seen.broken.reason, seen.broken.message.rstrip("."))
            return
        if policy is not None and not self.state.full:
            counts = {name: self.moment.of(name).counts for name in (canary, stable)}
            analysis = observe(policy, self.state.analysis, canary, stable, counts, self.now)
            self.set(analysis=analysis)
            if analysis.verdict is not None and analysis.failures >= policy.failure_limit:
                times = f", {analysis.failures} times in a row" if analysis.failures > 1 else ""
                self.roll_back(analysis.verdict[0], f"{analysis.verdict[1]}{times}")
                return
        waiting, deadline = self.state.waiting_since, self.policy.progress_deadline
        stuck = waiting is not None and self.now - waiting >= deadline
        if stuck and not self.moment.paused and seen.ready <= self.state.best_ready < want(self.moment).need:
            need = want(self.moment).need
            why = f"{seen.ready} of {need} replicas were ready, and no further one within {deadline:g} s"
            self.roll_back("ProgressDeadlineExceeded", why)

    # The step

    def move(self) -> Wants:
        """Makes the moves that are due, and returns what is wanted then."""
        while True:
            wants = want(self.moment)
            if wants.move == "reached":
                self.set(step_started_at=self.now, **self.unjudged())
            elif wants.move == "next":
                self.next_step()
            elif wants.move == "complete" and self.outcome is None:
                self.complete()
            else:
                return wants

    def step(self, wants: Wants) -> Step:
        self.wait_for(wants)
        replicas = self.replicas(wants)
        weights = self.weights(wants, replicas)
        wait = self.drain(replicas, weights)
        traffic = tuple(sorted(weights.items(), key=lambda item: (-item[1], item[0])))
        self.set(traffic=traffic)
        if self.state.canary is not None:
            self.set(phase=wants.phase, reason=wants.reason, message=wants.message)
            self.tell_of(wants)
        again = [*wait, *self.timers(wants)]
        return Step(
            replicas,
            traffic,
            self.state,
            self.state.reason,
            self.state.message,
            tuple(self.events),
            min(again, default=None),
            self.outcome,
        )

    def tell_of(self, wants: Wants) -> None:
        """Of stages as they are reached, and of a first deployment that does not start."""
        if wants.reason == self.before.reason and self.state.step == self.before.step:
            return
        if wants.reason in ("StepPaused", "AwaitingPromotion", "Switched"):
            self.tell(wants.reason, wants.message)
        stuck = self.state.stable is None and wants.reason not in ("FirstDeployment", "Paused")
        if stuck:
            self.tell(wants.reason, wants.message, warning=True)

    def wait_for(self, wants: Wants) -> None:
        """Keeps since when replicas are waited for; every further ready one begins the wait anew."""
        ready, state = self.moment.ready, self.state
        if state.canary is None or ready >= wants.need:
            self.set(waiting_since=None, best_ready=0)
        elif state.waiting_since is None or ready > state.best_ready:
            self.set(waiting_since=self.now, best_ready=ready)

    def replicas(self, wants: Wants) -> dict[str, int]:
        """Replicas of all revisions: those on their way out help until the others suffice."""
        replicas = dict(wants.replicas)
        seen = self.observed.revisions
        there = {name for name, each in seen.items() if each.replicas > 0 or each.pods > 0}
        known = {self.state.stable, self.state.canary, *(each.revision for each in self.state.leaving)}
        strangers = tuple(Leaving(name) for name in sorted(there - known))
        self.set(leaving=(*strangers, *(each for each in self.state.leaving if each.revision in there)))
        need = max(0, self.observed.replicas - wants.cover)
        for each in reversed(self.state.leaving):
            now = self.moment.of(each.revision)
            keep = min(now.replicas, now.ready, need)
            if self.policy.strategy == "Recreate" or (each.at_once and wants.cover > 0):
                keep = 0
            replicas[each.revision] = keep
            need -= keep
        return replicas | {name: 0 for name in seen if name not in replicas}

    def weights(self, wants: Wants, replicas: Mapping[str, int]) -> dict[str, int]:
        """Percents: nothing without a ready replica gets traffic while another has one."""
        ready = {name: each.ready for name, each in self.observed.revisions.items() if each.ready > 0}
        if not ready:
            only = self.state.stable
            if only is None or (self.policy.strategy == "Recreate" and self.state.canary is not None):
                only = self.state.canary or only
            return {only: 100} if only is not None else {}
        old: dict[str, float] = {
            name: min(ready[name], count)
            for name, count in replicas.items()
            if name in ready and name != self.state.canary
        }
        whole, new = sum(old.values()), ready.get(self.state.canary or "", 0)
        weight = wants.weight
        if weight is None:
            weight = 100 * new / (new + whole) if new else 0
        parts = {name: (100 - weight) * part / whole for name, part in old.items() if whole}
        if self.state.canary is not None and new:
            parts[self.state.canary] = weight
        return shares(parts) or shares(ready)

    def drain(self, replicas: dict[str, int], weights: Mapping[str, int]) -> list[float]:
        """Keeps the last replicas of a revision until it had no traffic for a moment; how long that is."""
        quiet = {
            name: self.state.quiet.get(name, self.now)
            for name, count in sorted(replicas.items())
            if name not in weights and (count > 0 or self.moment.of(name).replicas > 0)
        }
        self.set(quiet=quiet)
        waits: list[float] = []
        if self.policy.strategy == "Recreate" or self.observed.replicas == 0:
            return waits
        for name, count in replicas.items():
            seen = self.moment.of(name)
            if count > 0 or seen.replicas == 0 or seen.ready == 0:
                continue
            left = self.policy.drain - (self.now - quiet[name]) if name in quiet else self.policy.drain
            if left > 0:
                replicas[name] = seen.replicas
                waits.append(left)
        return waits

    def timers(self, wants: Wants) -> list[float]:
        timers = [] if wants.wait is None else [wants.wait]
        state, analysis = self.state, self.policy.analysis
        if wants.move == "complete":
            timers.append(0.1)
        if state.canary is None:
            return timers
        if state.waiting_since is not None and state.stable is not None:
            timers.append(state.waiting_since + self.policy.progress_deadline - self.now)
        if state.analysis is not None and analysis is not None and not state.full:
            timers.append(max(1.0, state.analysis.started_at + analysis.interval - self.now))
        return [max(timer, 0.1) for timer in timers]


__all__ = [
    "AnalysisPolicy",
    "Broken",
    "CanaryStep",
    "Command",
    "Counts",
    "Event",
    "Observed",
    "Outcome",
    "RevisionObserved",
    "RolloutPolicy",
    "RolloutState",
    "Step",
    "advance",
    "command_of",
    "policy_of",
    "steps_of",
]
