"""What each rollout strategy wants at one moment: replicas, the new revision's traffic, and the next move."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from slipway_operator.rollout_states import Observed, Phase, RevisionObserved, RolloutPolicy, RolloutState

Move = Literal["stay", "reached", "next", "complete"]
"""`reached`: the replicas of this stage are ready; `next`: the stage is over; `complete`: the rollout is."""
_NONE = RevisionObserved(replicas=0)


@dataclass(frozen=True)
class Wants:
    """What a strategy asks for."""

    phase: Phase
    reason: str
    message: str
    replicas: Mapping[str, int] = field(default_factory=dict)
    """Of the stable and the new revision."""
    weight: float | None = 0
    """Percent for the new revision; None: as its share of the ready replicas."""
    need: int = 0
    """Ready replicas of the new revision that are waited for."""
    cover: int = 0
    """Ready replicas that carry the traffic."""
    move: Move = "stay"
    wait: float | None = None
    """Seconds after which time alone makes a move."""


@dataclass(frozen=True)
class Moment:
    """The inputs of a decision, with names for what is read most."""

    policy: RolloutPolicy
    state: RolloutState
    observed: Observed
    now: float

    @property
    def wanted(self) -> int:
        return self.observed.replicas

    @property
    def paused(self) -> bool:
        """An undo was asked for after the pause, and goes on."""
        return (self.policy.paused or self.state.paused) and self.state.undo is None

    def of(self, revision: str | None) -> RevisionObserved:
        return self.observed.revisions.get(revision, _NONE) if revision is not None else _NONE

    @property
    def ready(self) -> int:
        """Ready replicas of the new revision."""
        return self.of(self.state.canary).ready

    @property
    def lasted(self) -> float:
        """Seconds since the replicas of this stage were ready."""
        since = self.state.step_started_at
        return 0.0 if since is None else self.now - since

    def others_have_pods(self, revision: str) -> bool:
        """Pods of any other revision exist, or will."""
        return any(
            seen.pods > 0 or seen.replicas > 0
            for name, seen in self.observed.revisions.items()
            if name != revision
        )


def want(moment: Moment) -> Wants:
    """What is wanted now."""
    state, policy = moment.state, moment.policy
    if state.canary is None:
        return _rest(moment)
    if state.stable is None:
        return _first(moment, state.canary)
    if moment.wanted == 0:
        message = f"Revision {state.canary} is rolled out with the next replica: none is wanted now."
        return Wants("Progressing", "ScaledToZero", message, {state.stable: 0, state.canary: 0})
    if policy.strategy == "Recreate":
        return _recreate(moment, state.stable, state.canary)
    if policy.strategy == "BlueGreen":
        return _blue_green(moment, state.stable, state.canary)
    if policy.strategy == "Canary" and not state.full and state.step < len(policy.steps):
        return _canary(moment, state.stable, state.canary)
    return _rolling(moment, state.stable, state.canary)


def _rest(moment: Moment) -> Wants:
    """Nothing is rolled out: all replicas are the stable revision's."""
    state, stable = moment.state, moment.state.stable
    if stable is None:
        return Wants(state.phase, state.reason, state.message)
    replicas = moment.wanted
    if moment.policy.strategy == "Recreate" and moment.of(stable).replicas == 0:
        replicas = 0 if moment.others_have_pods(stable) else replicas
    cover = moment.of(stable).ready
    return Wants(state.phase, state.reason, state.message, {stable: replicas}, cover=cover)


def _first(moment: Moment, new: str) -> Wants:
    """The first deployment goes straight out: there is nothing to return to, nor to compare with."""
    state, wanted, seen = moment.state, moment.wanted, moment.of(new)
    reason, message = "FirstDeployment", f"{_ready(moment, wanted)} of the first revision {new}."
    waited = 0.0 if state.waiting_since is None else moment.now - state.waiting_since
    wait = None
    if seen.ready < wanted:
        wait = moment.policy.progress_deadline - waited
        if seen.broken is not None:
            reason, message = seen.broken.reason, f"{message[:-1]}: {seen.broken.message}"
        elif wait < 0:
            reason = "ProgressDeadlineExceeded"
            message = f"{message[:-1]}, and no further one within {moment.policy.progress_deadline:g} s."
        wait = wait if wait > 0 else None
    move: Move = "complete" if seen.ready >= wanted else "stay"
    return Wants("Progressing", reason, message, {new: wanted}, 100, wanted, seen.ready, move, wait)


def _recreate(moment: Moment, stable: str, new: str) -> Wants:
    wanted, started = moment.wanted, moment.of(new).replicas > 0
    ended = started or not moment.others_have_pods(new)
    replicas = {stable: 0, new: wanted if ended else 0}
    message = f"{_ready(moment, wanted)} of revision {new}."
    if not ended:
        message = f"The replicas of revision {stable} end before those of {new} start."
    move: Move = "complete" if moment.ready >= wanted else "stay"
    return Wants("Progressing", "Rolling", message, replicas, 100, wanted, moment.ready, move)


def _blue_green(moment: Moment, stable: str, new: str) -> Wants:
    wanted, state, policy = moment.wanted, moment.state, moment.policy
    replicas = {stable: wanted, new: wanted}
    if state.step_started_at is None:
        cover = moment.of(stable).ready
        message = f"{_ready(moment, wanted)} of revision {new}; all of them take over at once."
        if moment.paused:
            return _paused(moment, Wants("Paused", "", message, replicas, 0, 0, cover))
        before = Wants("Progressing", "NewReplicasStarting", message, replicas, 0, wanted, cover)
        return before if moment.ready < wanted else _measured(moment, before)
    keep = max(policy.scale_down_delay, policy.drain)
    message = f"Revision {new} has the traffic; the replicas of {stable} are kept for {keep:g} s."
    after = Wants("Promoting", "Switched", message, replicas, 100, wanted, moment.ready)
    if moment.paused:
        return _paused(moment, after)
    over = moment.lasted >= keep and not _failing(moment)
    if state.full or (over and moment.ready >= min(1, wanted)):
        return _moving(after, "complete")
    return _waiting(after, keep - moment.lasted)


def _measured(moment: Moment, wants: Wants) -> Wants:
    """The switch, once it is known how the stable revision does: after it that has no requests."""
    state, analysis = moment.state, moment.policy.analysis
    if analysis is None or state.full or state.started_at is None:
        return _moving(wants, "reached")
    left = state.started_at + 2 * analysis.interval - moment.now
    if left <= 0 or (state.analysis is not None and state.analysis.baseline is not None):
        return _moving(wants, "reached")
    return _waiting(wants, left)


def _canary(moment: Moment, stable: str, new: str) -> Wants:
    state, wanted, steps = moment.state, moment.wanted, moment.policy.steps
    step = steps[state.step]
    need = required(wanted, step.weight)
    weight = step.weight * min(moment.ready, need) / need
    where = f"step {state.step + 1} of {len(steps)}, {step.weight}% of the traffic to revision {new}"
    message = f"{_ready(moment, need)} for {where}."
    now = Wants(
        "Progressing",
        "NewReplicasStarting",
        message,
        {stable: wanted, new: need},
        weight,
        need,
        moment.of(stable).ready,
    )
    if moment.paused:
        return _paused(moment, now)
    if moment.ready < need:
        return now
    if state.step_started_at is None:
        return _moving(now, "reached")
    if step.pause == "manual":
        message = f"Waits for `slipway rollout promote` at {where}."
        return _with(now, phase="Paused", reason="AwaitingPromotion", message=message)
    if step.pause is None:
        return _until_judged(
            moment, _with(now, reason="Baking", message=f"Compares the revisions at {where}.")
        )
    pausing = _with(now, reason="StepPaused", message=f"Pauses for {step.pause:g} s at {where}.")
    if moment.lasted >= step.pause and not _failing(moment):
        return _moving(pausing, "next")
    return _waiting(pausing, step.pause - moment.lasted)


def _rolling(moment: Moment, stable: str, new: str) -> Wants:
    """Old replicas go as new ones become ready; at most `max_surge` more than wanted exist meanwhile."""
    wanted, state, policy = moment.wanted, moment.state, moment.policy
    ready, old_now, new_now = moment.ready, moment.of(stable).replicas, moment.of(new).replicas
    old = max(0, wanted - ready)
    if ready > 0:
        # A service that grows meanwhile grows by the new revision, once that has shown that it starts.
        old = min(old, old_now)
    whole = ready >= wanted
    baked = state.full or not _bakes(policy) or (state.step_started_at is not None and _baked(moment))
    if whole and (moment.paused or not baked):
        old = min(1, old_now)
    surge = max(1, policy.max_surge)
    most = max(0, wanted + surge - max(old, min(old_now, wanted)))
    replicas = {stable: old, new: min(wanted, new_now if moment.paused else max(new_now, most))}
    message = f"{_ready(moment, wanted)} of revision {new}."
    cover = ready + moment.of(stable).ready
    phase: Phase = "Promoting" if policy.strategy == "Canary" else "Progressing"
    now = Wants(phase, "Rolling", message, replicas, None, wanted, cover)
    if moment.paused:
        return _paused(moment, now)
    if not whole:
        return now
    if state.step_started_at is None:
        return _moving(now, "reached")
    if not baked:
        wait = policy.analysis.interval if policy.analysis else 0
        return _waiting(
            _with(
                now, reason="Baking", message=f"Revision {new} is compared with {stable} before that goes."
            ),
            wait,
        )
    return _moving(now, "complete")


def required(wanted: int, weight: int) -> int:
    """Replicas that a share of the traffic (percent) needs; one at least."""
    return max(1, math.ceil(wanted * weight / 100))


def _bakes(policy: RolloutPolicy) -> bool:
    """The comparison comes after the last replica is ready, as there was no stage for it before."""
    return policy.analysis is not None and not (policy.strategy == "Canary" and policy.steps)


def _baked(moment: Moment) -> bool:
    """A comparison was good, or there was too little traffic for one."""
    analysis = moment.policy.analysis
    if analysis is None or (moment.state.analysis is not None and moment.state.analysis.good):
        return True
    return moment.lasted >= analysis.interval * (analysis.failure_limit + 1) and not _failing(moment)


def _until_judged(moment: Moment, wants: Wants) -> Wants:
    """A stage without a pause lasts until a comparison was good, but not longer than progress may take."""
    analysis = moment.policy.analysis
    good = analysis is None or (moment.state.analysis is not None and moment.state.analysis.good)
    if good or moment.lasted >= moment.policy.progress_deadline:
        return _moving(wants, "next")
    return _waiting(wants, moment.policy.progress_deadline - moment.lasted)


def _failing(moment: Moment) -> bool:
    """The last comparison was bad and the next one is still to come; not for ever, if traffic ends."""
    analysis, policy = moment.state.analysis, moment.policy.analysis
    if analysis is None or policy is None or moment.state.full or analysis.failures == 0:
        return False
    return moment.now - analysis.started_at < policy.interval * 6


def _ready(moment: Moment, need: int) -> str:
    return f"{min(moment.ready, need)} of {need} replicas are ready"


def _with(wants: Wants, **changes: object) -> Wants:
    return Wants(**{**vars(wants), **changes})


def _moving(wants: Wants, move: Move) -> Wants:
    return _with(wants, move=move)


def _waiting(wants: Wants, seconds: float) -> Wants:
    return _with(wants, wait=max(seconds, 0.5))


def _paused(moment: Moment, wants: Wants) -> Wants:
    who = "spec.rollout.paused is true" if moment.policy.paused else "`slipway rollout resume` goes on"
    message = f"Paused ({who}): {wants.message[:1].lower()}{wants.message[1:]}"
    return _with(wants, phase="Paused", reason="Paused", message=message, need=0)
