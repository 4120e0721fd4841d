"""How many replicas a service should have: Knative's KPA, with queueing counted and blindness held safe.

The algorithm is that of Knative's Pod Autoscaler (knative.dev/docs/serving/autoscaling/kpa-specific): load
averaged over a stable window, and over a short panic window that takes over when load outgrows the capacity
by `panic_threshold`; no shrinking while in panic; the highest wish of the last `scale_down_delay` counts when
going down. It differs where language models do:

- load is what gateways hold in flight *and waiting*, or engines have running and waiting if that is more;
- replicas that still start count as capacity to come, so that a slow start is no second panic;
- within the tolerance around the target nothing changes (as HPA), in both directions;
- step limits are factors per panic window, however often this function is called;
- data that is missing never shrinks a service, and grows it only by what is known.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from slipway.objects import LLMServiceSpec
from slipway_operator.windows import Window

Reason = Literal[
    "Fixed",
    "Steady",
    "LoadRose",
    "Panic",
    "LoadFell",
    "ScaleDownDelayed",
    "StepLimited",
    "AtMinimum",
    "AtMaximum",
    "MetricsMissing",
    "WindowFilling",
    "Idle",
    "AtZero",
    "FromZero",
    "AwaitingIdle",
]
LONGEST_PAUSE = 2.0
"""Seconds between two decisions at most."""
NOISE = 1e-9
MOST_TOLERANCE = 0.9
"""With all of the target as tolerance no load would be too little."""
EMPTY = Window()


@dataclass(frozen=True)
class Fixed:
    """Autoscaling is off."""

    replicas: int


@dataclass(frozen=True)
class ScalingPolicy:
    """`spec.autoscaling`. Durations in seconds."""

    min_replicas: int = 1
    max_replicas: int = 4
    target: float = 8.0
    """Requests in flight and waiting that one replica should have."""
    tolerance: float = 0.1
    """Fraction around the target within which nothing changes; under 1."""
    stable_window: float = 60.0
    panic_window: float = 6.0
    panic_threshold: float = 2.0
    """Load as a multiple of the capacity from which the panic window counts."""
    scale_down_delay: float = 300.0
    idle_timeout: float = 600.0
    """Without any request for this long a service with `min_replicas` 0 goes to zero."""
    max_scale_up_rate: float = 10.0
    """Factor in one panic window."""
    max_scale_down_rate: float = 2.0
    """Divisor in one panic window."""


@dataclass(frozen=True)
class Load:
    """What sources of one kind (gateways, engines) hold at this moment, in sum over those that answered."""

    in_flight: float
    waiting: float
    expected: int
    """Sources there are."""
    answered: int


@dataclass(frozen=True)
class Signals:
    """What is known at the moment of a decision."""

    replicas: int
    """Wanted at present (a new service: `spec.replicas`). Read only while the state is new."""
    ready: int
    starting: int
    """Wanted, and not ready yet."""
    gateways: Load | None
    """None: none is known."""
    engines: Load | None
    """Of the ready engine pods. None: they publish no such numbers, or none is ready."""
    requests_total: float | None = None
    """Requests ever ended; any change of it counts as activity."""


@dataclass(frozen=True)
class ScalingState:
    """What is remembered between decisions: four windows of sixty buckets at most, and some moments."""

    desired: int | None = None
    filling_since: float | None = None
    """When the present run of complete data began."""
    complete_at: float | None = None
    """When the data were last complete."""
    active_at: float | None = None
    """When a request was last seen (or watching began)."""
    panic_at: float | None = None
    requests_total: float | None = None
    stable: Window = EMPTY
    """Load."""
    panic: Window = EMPTY
    """Load, over the panic window."""
    wishes: Window = EMPTY
    """Replicas the load asked for, over the scale-down delay."""
    asked: Window = EMPTY
    """Replicas decided, over the panic window: what step limits count from."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            field.name: value.to_list() if isinstance(value := getattr(self, field.name), Window) else value
            for field in fields(self)
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ScalingState":
        """What `to_dict` wrote."""
        values: dict[str, Any] = dict(data)
        for name, value in data.items():
            if isinstance(value, list):
                values[name] = Window.from_list(value)
        return cls(**values)


@dataclass(frozen=True)
class Decision:
    """How many replicas, and why: `message` is a sentence with the numbers."""

    desired: int
    reason: Reason
    message: str
    state: ScalingState
    again_after: float | None
    """Seconds until the next decision is due; None if only a change of the spec can change this one."""


@dataclass(frozen=True)
class _View:
    """One moment's data, read."""

    known: float | None
    """Requests in flight and waiting, at least; None if nothing answered."""
    missing: str
    """Which sources did not answer, as part of a sentence."""

    @property
    def complete(self) -> bool:
        return not self.missing


@dataclass(frozen=True)
class _Case:
    """What one decision is made from."""

    policy: ScalingPolicy
    state: ScalingState
    view: _View
    signals: Signals
    before: int
    now: float

    @property
    def seen_for(self) -> float:
        """Seconds of complete data up to now."""
        since = self.state.filling_since
        return 0.0 if since is None else self.now - since

    @property
    def quiet_for(self) -> float:
        """Seconds since the last request."""
        since = self.state.active_at
        return 0.0 if since is None else self.now - since

    @property
    def filled(self) -> bool:
        return self.state.filling_since is not None and self.seen_for >= self.policy.stable_window

    @property
    def idle(self) -> bool:
        quiet = self.view.complete and self.view.known == 0 and self.filled
        return self.policy.min_replicas == 0 and quiet and self.quiet_for >= self.policy.idle_timeout


@dataclass(frozen=True)
class _Wish:
    """A number of replicas and what speaks for it."""

    replicas: int
    reason: Reason
    message: str


def policy_of(spec: LLMServiceSpec) -> Fixed | ScalingPolicy:
    """The policy in `spec.autoscaling`, or `spec.replicas` without it."""
    scaling = spec.autoscaling
    if scaling is None:
        return Fixed(spec.replicas)
    idle = scaling.idle_seconds
    return ScalingPolicy(
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        target=scaling.target,
        tolerance=min(scaling.tolerance.number, MOST_TOLERANCE),
        stable_window=scaling.stable_window.seconds,
        panic_window=scaling.panic_window.seconds,
        panic_threshold=scaling.panic_threshold.number,
        scale_down_delay=scaling.scale_down_delay.seconds,
        idle_timeout=math.inf if idle is None else idle,
        max_scale_up_rate=scaling.max_scale_up_rate.number,
        max_scale_down_rate=scaling.max_scale_down_rate.number,
    )


def decide(policy: Fixed | ScalingPolicy, state: ScalingState, signals: Signals, now: float) -> Decision:
    """The replicas a service should have at `now` (seconds of any one clock).

    `state` is what the last decision returned, or `ScalingState()`: then nothing shrinks until a stable
    window of complete data was seen, while growth, from zero too, is immediate.
    """
    if isinstance(policy, Fixed):
        message = f"Autoscaling is off: the spec asks for {_count(policy.replicas)}."
        return Decision(policy.replicas, "Fixed", message, ScalingState(), None)
    view = _read(signals)
    before = signals.replicas if state.desired is None else state.desired
    state = _panicking(
        policy, _remembering(policy, state, view, signals, before, now), view, signals, before, now
    )
    case = _Case(policy, state, view, signals, before, now)
    wish = _wish(case)
    bounded = min(max(wish.replicas, _floor(case)), policy.max_replicas)
    state = replace(state, wishes=state.wishes.record(now, bounded, policy.scale_down_delay))
    end = _limited(replace(case, state=state), wish, bounded)
    state = replace(
        state, desired=end.replicas, asked=state.asked.record(now, end.replicas, policy.panic_window)
    )
    moved = f"stays at {_count(before)}"
    if end.replicas != before:
        moved = f"from {before} to {_count(end.replicas)}"
    again = min(LONGEST_PAUSE, max(policy.panic_window / 3, 0.5))
    return Decision(end.replicas, end.reason, f"{end.message}: {moved}.", state, again)


def _read(signals: Signals) -> _View:
    sources = [source for source in (signals.gateways, signals.engines) if source is not None]
    known = [source.in_flight + source.waiting for source in sources if source.answered > 0]
    silent = []
    if signals.gateways is None or signals.gateways.expected == 0:
        silent.append("no gateway is known")
    for name, source in (("gateways", signals.gateways), ("engines", signals.engines)):
        if source is not None and source.answered < source.expected:
            silent.append(f"{source.expected - source.answered} of {source.expected} {name} did not answer")
    return _View(max(known, default=None), " and ".join(silent))


def _remembering(
    policy: ScalingPolicy, state: ScalingState, view: _View, signals: Signals, before: int, now: float
) -> ScalingState:
    """The state with this moment's data in it."""
    average = state.stable.since(now - policy.stable_window, policy.stable_window).mean
    if average is None:
        # New, or back after a long absence: what there is counts as wished for a moment ago.
        state = replace(
            state,
            filling_since=None,
            wishes=state.wishes.record(now, before, policy.scale_down_delay),
            asked=state.asked.record(now, before, policy.panic_window),
        )
    sample = view.known
    if not view.complete:
        # What is missing is taken to be as it was: neither more (no growth on a guess) nor less.
        sample = max((value for value in (view.known, average) if value is not None), default=None)
    if sample is not None:
        state = replace(
            state,
            stable=state.stable.record(now, sample, policy.stable_window),
            panic=state.panic.record(now, sample, policy.panic_window),
        )
    if view.complete:
        gap = math.inf if state.complete_at is None else now - state.complete_at
        unbroken = state.filling_since is not None and gap <= policy.stable_window / 4
        state = replace(state, complete_at=now, filling_since=state.filling_since if unbroken else now)
    total = signals.requests_total
    active = state.active_at is None or bool(view.known)
    active = active or (total is not None and total != state.requests_total)
    return replace(
        state,
        active_at=now if active else state.active_at,
        requests_total=state.requests_total if total is None else total,
    )


def _panicking(
    policy: ScalingPolicy, state: ScalingState, view: _View, signals: Signals, before: int, now: float
) -> ScalingState:
    """The state with panic begun, prolonged or ended."""
    capacity = policy.target * max(1, signals.ready + signals.starting)
    outgrown = (state.panic.mean or 0.0) / capacity >= policy.panic_threshold - NOISE
    # From zero the averages still hold the quiet before, and must not take back what is asked for now.
    if outgrown or (before == 0 and view.known):
        return replace(state, panic_at=now)
    if state.panic_at is not None and now - state.panic_at > policy.stable_window:
        return replace(state, panic_at=None)
    return state


def _wish(case: _Case) -> _Wish:
    """What the load asks for, before all bounds."""
    policy, before, known = case.policy, case.before, case.view.known
    if before == 0:
        if not known:
            return _Wish(0, "AtZero", "No request in flight or waiting")
        wish = max(1, math.ceil(known / policy.target - NOISE))
        return _Wish(wish, "FromZero", f"{_requests(known)} waiting at zero replicas")
    if case.idle:
        return _Wish(0, "Idle", f"No request for {_seconds(case.quiet_for)}")
    average, panic = case.state.stable.mean, case.state.panic.mean
    if average is None or panic is None:
        return _Wish(before, "Steady", "Nothing is known about the load")
    wish, window = _within_tolerance(policy, average, before), policy.stable_window
    if case.state.panic_at is not None:
        urgent = _within_tolerance(policy, panic, before)
        if urgent > wish:
            average, window = panic, policy.panic_window
        wish = max(wish, urgent, before)  # In panic a service grows only.
    message = f"{_requests(average)} in flight or waiting on average over {_seconds(window)}"
    message += f" at a target of {policy.target:g} for each replica"
    if case.signals.starting:
        message += f" ({case.signals.ready} ready, {case.signals.starting} starting)"
    if wish > before:
        return _Wish(wish, "LoadRose" if case.state.panic_at is None else "Panic", message)
    return _Wish(wish, "LoadFell" if wish < before else "Steady", message)


def _within_tolerance(policy: ScalingPolicy, load: float, before: int) -> int:
    """`before` if each replica's load is within the tolerance; else as many as bring it there.

    Going down it leaves the tolerance as room above, so that the smaller number is not outgrown at once.
    """
    needed = load / policy.target
    if needed > before * (1 + policy.tolerance) + NOISE:
        return math.ceil(needed - NOISE)
    return min(before, math.ceil(needed / (1 - policy.tolerance) - NOISE))


def _floor(case: _Case) -> int:
    """The fewest replicas that are right now; zero only of what is idle or at zero already."""
    return max(case.policy.min_replicas, 0 if case.idle or case.before == 0 else 1)


def _limited(case: _Case, wish: _Wish, bounded: int) -> _Wish:
    """What becomes of a wish that the spec's bounds made `bounded`: hold, delay, step limits; and why."""
    policy, before = case.policy, case.before
    allowed = f"{wish.message}; the spec allows {policy.min_replicas} to {policy.max_replicas}"
    if before > policy.max_replicas:
        return _Wish(policy.max_replicas, "AtMaximum", allowed)
    if before < policy.min_replicas == bounded:
        return _Wish(bounded, "AtMinimum", allowed)
    if bounded < before:
        return _down(case, replace(wish, replicas=bounded))
    if bounded > before:
        up = _up(case, replace(wish, replicas=bounded))
        return replace(up, replicas=max(up.replicas, policy.min_replicas))
    return _held(case, wish)


def _down(case: _Case, wish: _Wish) -> _Wish:
    policy, state, before = case.policy, case.state, case.before
    if not case.view.complete:
        why = f"but {case.view.missing}, and nothing shrinks unseen"
        return _Wish(before, "MetricsMissing", f"{wish.message}, {why}")
    if not case.filled:
        why = f"but only {_seconds(case.seen_for)} of {_seconds(policy.stable_window)} were seen"
        return _Wish(before, "WindowFilling", f"{wish.message}, {why}")
    fewest = wish.replicas
    if not case.idle:
        highest = int(state.wishes.high or 0)
        if highest >= before:
            why = f"but {highest} were needed within the last {_seconds(policy.scale_down_delay)}"
            return _Wish(before, "ScaleDownDelayed", f"{wish.message}, {why}")
        fewest = max(fewest, highest)
    high = int(state.asked.since(case.now - policy.panic_window, policy.panic_window).high or before)
    least = min(math.floor(high / policy.max_scale_down_rate + NOISE), high - 1)
    if least > fewest:
        why = f"and {_seconds(policy.panic_window)} may divide by {policy.max_scale_down_rate:g} at most"
        return _Wish(min(before, least), "StepLimited", f"{wish.message}, {why}")
    return replace(wish, replicas=fewest)


def _up(case: _Case, wish: _Wish) -> _Wish:
    policy = case.policy
    lowest = case.state.asked.since(case.now - policy.panic_window, policy.panic_window).low
    base = max(1, case.before if lowest is None else int(lowest))
    most = max(math.ceil(base * policy.max_scale_up_rate - NOISE), base + 1)
    message = f"{wish.message}; {case.view.missing}" if case.view.missing else wish.message
    if most < wish.replicas:
        why = f"and {_seconds(policy.panic_window)} may multiply by {policy.max_scale_up_rate:g} at most"
        return _Wish(max(case.before, most), "StepLimited", f"{message}, {why}")
    return replace(wish, message=message)


def _held(case: _Case, wish: _Wish) -> _Wish:
    """Why nothing changes."""
    policy, before, message = case.policy, case.before, wish.message
    if not case.view.complete:
        return _Wish(before, "MetricsMissing", f"{message}; {case.view.missing}")
    if wish.replicas > before:
        why = f"asks for {wish.replicas}, and the spec allows {policy.max_replicas}"
        return _Wish(before, "AtMaximum", f"{message} {why}")
    if wish.replicas < before:
        if policy.min_replicas == 0:
            why = f"zero replicas after {_seconds(policy.idle_timeout)} without a request"
            return _Wish(before, "AwaitingIdle", f"{message}; {why}")
        return _Wish(before, "AtMinimum", f"{message}; the spec asks for {policy.min_replicas} at least")
    return replace(wish, replicas=before)


def _requests(load: float) -> str:
    return "1 request" if load == 1 else f"{load:.1f} requests".replace(".0 ", " ")


def _seconds(duration: float) -> str:
    return f"{duration:.1f} s".replace(".0 ", " ")


def _count(replicas: int) -> str:
    return "1 replica" if replicas == 1 else f"{replicas} replicas"
