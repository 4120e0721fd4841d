"""The number of replicas follows the load, in bounds, and never shrinks unseen or in traffic."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.objects import LLMServiceSpec
from slipway_operator.autoscaling import (
    Decision,
    Fixed,
    Load,
    ScalingPolicy,
    ScalingState,
    Signals,
    decide,
    policy_of,
)

TICK = 2.0
ALL = Load(0, 0, 1, 1)


def load(requests: float, expected: int = 1, answered: int = 1) -> Load:
    return Load(requests, 0, expected, answered)


class Service:
    """A service whose pods start `start` seconds after they are wanted, driven by the deciding function."""

    def __init__(self, policy: ScalingPolicy, replicas: int = 1, start: float = 0) -> None:
        self.policy, self.start, self.now = policy, start, 1000.0
        self.wanted = replicas
        self.ready_at = [0.0] * replicas
        self.state = ScalingState()
        self.decisions: list[Decision] = []

    @property
    def ready(self) -> int:
        return sum(moment <= self.now for moment in self.ready_at)

    def tick(
        self, gateways: Load | None, engines: Load | None = None, total: float | None = None
    ) -> Decision:
        signals = Signals(self.wanted, self.ready, self.wanted - self.ready, gateways, engines, total)
        decision = decide(self.policy, self.state, signals, self.now)
        # What is kept survives being written down.
        self.state = ScalingState.from_dict(json.loads(json.dumps(decision.state.to_dict())))
        assert self.state == decision.state
        self.wanted = decision.desired
        self.ready_at = sorted(self.ready_at)[: self.wanted]
        self.ready_at += [self.now + self.start] * (self.wanted - len(self.ready_at))
        self.decisions.append(decision)
        self.now += TICK
        return decision

    def run(self, seconds: float, requests: float) -> Decision:
        for _ in range(max(1, math.ceil(seconds / TICK))):
            decision = self.tick(load(requests))
        return decision


POLICY = ScalingPolicy(min_replicas=1, max_replicas=20)
TO_ZERO = replace(POLICY, min_replicas=0)


def test_off_gives_what_the_spec_asks_for() -> None:
    decision = decide(Fixed(3), ScalingState(), Signals(1, 1, 0, ALL, None), 0)
    assert (decision.desired, decision.reason, decision.again_after) == (3, "Fixed", None)
    assert decision.message == "Autoscaling is off: the spec asks for 3 replicas."


def test_steady_load_over_the_target_adds_replicas_and_says_why() -> None:
    service = Service(POLICY)
    decision = service.tick(Load(9, 3, 1, 1))
    assert (decision.desired, decision.reason) == (2, "LoadRose")
    assert decision.message == (
        "12 requests in flight or waiting on average over 60 s at a target of 8 for each replica: "
        "from 1 to 2 replicas."
    )


def test_engines_count_where_they_see_more_than_gateways() -> None:
    assert Service(POLICY).tick(load(4), load(40)).desired == 5
    assert Service(POLICY).tick(load(40), load(4)).desired == 5


def test_a_burst_is_answered_from_the_panic_window() -> None:
    service = Service(POLICY)
    service.run(120, 4)
    service.run(8, 80)
    assert service.decisions[-1].reason == "Panic"
    assert service.wanted == 10, "the stable window's average alone would ask for two"


def test_panic_never_shrinks() -> None:
    service = Service(replace(POLICY, scale_down_delay=0))
    service.run(120, 4)
    service.run(8, 80)
    peak = service.wanted
    service.run(50, 0)
    assert service.wanted == peak
    service.run(60, 0)
    assert service.wanted == 1


def test_slow_starts_cause_no_second_panic_and_no_flapping() -> None:
    service = Service(POLICY, start=300)
    service.run(120, 4)
    service.run(280, 40)
    assert service.wanted == 5
    numbers = [decision.desired for decision in service.decisions]
    assert numbers == sorted(numbers)


def test_replicas_that_still_start_do_not_prolong_the_panic() -> None:
    service = Service(replace(POLICY, scale_down_delay=0), start=1000)
    service.now += 2000
    service.run(120, 4)
    service.run(30, 40)
    assert service.wanted == 5
    service.run(140, 20)
    assert (service.ready, service.wanted) == (1, 3)


def test_growth_is_limited_for_each_panic_window() -> None:
    service = Service(replace(POLICY, max_replicas=1000, max_scale_up_rate=3))
    assert service.tick(load(4000)).desired == 3
    assert service.decisions[-1].reason == "StepLimited"
    assert "6 s may multiply by 3 at most" in service.decisions[-1].message
    service.tick(load(4000))
    assert service.wanted == 3, "however often it is asked"
    service.run(8, 4000)
    assert service.wanted == 9


def test_shrinking_waits_for_the_delay_and_follows_the_load_down() -> None:
    service = Service(POLICY, replicas=16)
    service.run(300, 128)
    service.run(298, 8)
    assert service.wanted == 16
    assert service.decisions[-1].reason == "ScaleDownDelayed"
    assert "16 were needed within the last 300 s" in service.decisions[-1].message
    service.run(100, 8)
    # One replica would be at its target exactly, with no room for the tolerance.
    assert service.wanted == 2


def test_shrinking_is_limited_for_each_panic_window() -> None:
    service = Service(replace(TO_ZERO, idle_timeout=100), replicas=16)
    service.run(140, 0)
    numbers = [decision.desired for decision in service.decisions]
    assert list(dict.fromkeys(numbers)) == [16, 8, 4, 2, 1, 0]
    assert numbers.count(8) >= 3
    limited = next(decision for decision in service.decisions if decision.desired == 8)
    assert limited.reason == "StepLimited"
    assert limited.message == "No request for 100 s, and 6 s may divide by 2 at most: from 16 to 8 replicas."


def test_a_new_operator_holds_until_a_stable_window_was_seen() -> None:
    service = Service(replace(POLICY, scale_down_delay=0), replicas=6)
    service.run(58, 1)
    assert service.wanted == 6
    assert service.decisions[-1].reason == "WindowFilling"
    service.run(20, 1)
    assert service.wanted == 1


def test_a_new_operator_respects_the_delay_of_what_it_did_not_see() -> None:
    service = Service(POLICY, replicas=6)
    service.run(280, 1)
    assert service.wanted == 6
    service.run(40, 1)
    assert service.wanted == 1


@pytest.mark.parametrize(
    ("gateways", "engines", "says"),
    [
        (None, None, "no gateway is known"),
        (load(1, expected=3), None, "2 of 3 gateways did not answer"),
        (load(1), load(1, expected=2), "1 of 2 engines did not answer"),
    ],
)
def test_missing_metrics_hold(gateways: Load | None, engines: Load | None, says: str) -> None:
    service = Service(replace(POLICY, scale_down_delay=0), replicas=6)
    service.run(120, 48)
    for _ in range(300):
        service.tick(gateways, engines)
    assert service.wanted == 6
    assert service.decisions[-1].reason == "MetricsMissing"
    assert says in service.decisions[-1].message


def test_what_is_known_grows_a_service_even_if_some_is_missing() -> None:
    decision = Service(POLICY).tick(load(40, expected=2))
    assert decision.desired == 5
    assert "1 of 2 gateways did not answer" in decision.message


def test_the_moments_after_missing_data_do_not_shrink_on_the_gap() -> None:
    service = Service(replace(POLICY, scale_down_delay=0), replicas=6)
    service.run(120, 48)
    for _ in range(60):
        service.tick(load(3, expected=2))
    service.run(4, 48)
    assert service.wanted == 6


def test_a_gateway_that_answers_every_other_time_does_not_halve_the_load() -> None:
    service = Service(replace(POLICY, scale_down_delay=0), replicas=6)
    service.run(120, 48)
    for _ in range(60):
        service.tick(load(3, expected=2))
        service.tick(load(48))
    assert {decision.desired for decision in service.decisions} == {6}


def test_an_idle_service_goes_to_zero_after_the_timeout_and_back_at_once() -> None:
    service = Service(TO_ZERO)
    service.run(10, 3)
    service.run(590, 0)
    assert service.wanted == 1
    assert service.decisions[-1].reason == "AwaitingIdle"
    service.run(20, 0)
    assert service.wanted == 0
    assert any(decision.reason == "Idle" for decision in service.decisions)
    service.run(1000, 0)
    assert service.wanted == 0
    decision = service.tick(Load(0, 20, 1, 1))
    assert (decision.desired, decision.reason) == (3, "FromZero")
    assert decision.message == "20 requests waiting at zero replicas: from 0 to 3 replicas."


def test_from_zero_is_not_taken_back_by_the_quiet_before() -> None:
    service = Service(replace(TO_ZERO, scale_down_delay=0), replicas=0, start=100)
    service.run(300, 0)
    service.run(58, 40)
    assert {decision.desired for decision in service.decisions[-28:]} == {5}


def test_a_new_operator_starts_a_service_at_zero_at_once() -> None:
    assert Service(TO_ZERO, replicas=0).tick(load(1, expected=2)).desired == 1


def test_requests_between_two_looks_are_no_idleness() -> None:
    service = Service(TO_ZERO)
    for second in range(1000):
        service.tick(load(0), total=float(second // 100))
    assert service.wanted == 1


@pytest.mark.parametrize(
    "blind",
    [
        pytest.param((load(0, expected=2), None), id="a gateway is silent"),
        pytest.param((None, None), id="no gateway"),
        pytest.param((load(0), load(1)), id="an engine still runs one"),
    ],
)
def test_zero_needs_every_gateway_and_nothing_running(blind: tuple[Load | None, Load | None]) -> None:
    service = Service(TO_ZERO)
    for _ in range(1000):
        service.tick(*blind)
    assert service.wanted == 1


def test_changed_bounds_count_at_once() -> None:
    service = Service(POLICY, replicas=10)
    service.policy = replace(POLICY, max_replicas=3)
    assert service.tick(None).desired == 3
    service.policy = replace(POLICY, min_replicas=7)
    decision = service.tick(load(0))
    assert (decision.desired, decision.reason) == (7, "AtMinimum")


@pytest.mark.parametrize("requests", [80 * 0.91, 80, 80 * 1.09])
def test_load_within_the_tolerance_changes_nothing(requests: float) -> None:
    service = Service(POLICY, replicas=10)
    service.run(600, requests)
    assert {decision.desired for decision in service.decisions} == {10}
    assert service.decisions[-1].reason == "Steady"


# Properties

POLICIES = st.builds(
    lambda low, more, target, delay, idle, up, down, tolerance: ScalingPolicy(
        low, low + more, target, tolerance, 20, 4, 2, delay, idle, up, down
    ),
    st.integers(0, 3),
    st.integers(1, 30),
    st.sampled_from([1.0, 4.0, 8.0]),
    st.sampled_from([0.0, 10.0, 30.0]),
    st.sampled_from([10.0, 40.0]),
    st.sampled_from([1.0, 1.5, 10.0]),
    st.sampled_from([1.0, 2.0, 5.0]),
    st.sampled_from([0.0, 0.1, 0.3]),
)
SOURCES = st.one_of(
    st.none(),
    st.builds(
        lambda in_flight, waiting, expected, answered: Load(
            in_flight, waiting, expected, min(expected, answered)
        ),
        st.integers(0, 100),
        st.integers(0, 50),
        st.integers(1, 3),
        st.integers(0, 3),
    ),
)
WORLDS = st.lists(
    st.tuples(SOURCES, SOURCES, st.sampled_from([0.0, 0.5, 2.0, 5.0, 30.0]), st.integers(1, 8)), max_size=12
)


@settings(deadline=None)
@given(POLICIES, st.integers(0, 40), WORLDS)
def test_whatever_happens_a_decision_keeps_its_promises(
    policy: ScalingPolicy, replicas: int, world: list[tuple[Load | None, Load | None, float, int]]
) -> None:
    state, now, wanted = ScalingState(), 0.0, replicas
    past: list[tuple[float, int]] = []
    for gateways, engines, pause, times in world:
        for _ in range(times):
            decision = decide(policy, state, Signals(wanted, wanted, 0, gateways, engines), now)
            desired, before = decision.desired, wanted
            assert policy.min_replicas <= desired <= policy.max_replicas or desired == before == 0
            seen = [source for source in (gateways, engines) if source is not None]
            complete = gateways is not None and all(source.answered == source.expected for source in seen)
            known = max((source.in_flight + source.waiting for source in seen if source.answered), default=0)
            if not complete:
                assert desired >= min(before, policy.max_replicas)
            if known and policy.max_replicas:
                assert desired >= 1
            if policy.min_replicas <= before <= policy.max_replicas:
                recent = [number for moment, number in past if moment > now - policy.panic_window]
                most, least = min([before, *recent]), max([before, *recent])
                assert desired <= max(math.ceil(max(1, most) * policy.max_scale_up_rate), max(1, most) + 1)
                assert desired >= min(math.floor(least / policy.max_scale_down_rate), least - 1, before)
            if decision.reason not in ("AtMaximum", "AtMinimum"):
                assert (desired < before) <= (decision.reason in ("LoadFell", "Idle", "StepLimited"))
            assert str(before) in decision.message
            assert all(
                len(window) <= 62 for window in decision.state.to_dict().values() if isinstance(window, list)
            )
            past.append((now, desired))
            state, wanted = decision.state, desired
            now += pause


@settings(deadline=None)
@given(POLICIES, st.integers(0, 30), WORLDS, st.integers(0, 200), st.integers(0, 200), st.integers(0, 9))
def test_more_load_never_asks_for_less(
    policy: ScalingPolicy,
    replicas: int,
    world: list[tuple[Load | None, Load | None, float, int]],
    one: int,
    other: int,
    starting: int,
) -> None:
    state, now = ScalingState(), 0.0
    for gateways, engines, pause, _ in world:
        state = decide(policy, state, Signals(replicas, replicas, 0, gateways, engines), now).state
        now += pause
    less, more = sorted((one, other))
    signals = Signals(replicas, replicas, starting, ALL, None)
    fewer, many = (
        decide(policy, state, replace(signals, gateways=load(number)), now).desired for number in (less, more)
    )
    assert fewer <= many


@settings(deadline=None, max_examples=40)
@given(POLICIES, st.integers(1, 30), st.integers(0, 240), st.sampled_from([0.0, 15.0, 90.0]))
def test_constant_load_converges_and_then_holds(
    policy: ScalingPolicy, replicas: int, requests: int, start: float
) -> None:
    service = Service(policy, replicas, start)
    service.run(300, requests)
    settled = service.wanted
    service.run(120, requests)
    assert {decision.desired for decision in service.decisions[-60:]} == {settled}
    needed = requests / policy.target
    if policy.min_replicas < settled < policy.max_replicas and settled > 1:
        assert needed <= settled * (1 + policy.tolerance)
        assert settled - 1 < needed / (1 - policy.tolerance)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 20), st.lists(st.floats(-0.099, 0.099), min_size=5, max_size=60))
def test_noise_within_the_tolerance_does_nothing(replicas: int, noise: list[float]) -> None:
    service = Service(replace(POLICY, scale_down_delay=0), replicas)
    for one in noise * 3:
        service.tick(load(replicas * POLICY.target * (1 + one)))
    assert {decision.desired for decision in service.decisions} == {replicas}


@settings(deadline=None, max_examples=40)
@given(POLICIES, st.integers(1, 200), st.integers(1, 30))
def test_after_a_burst_it_comes_down_within_delay_and_windows(
    policy: ScalingPolicy, burst: int, seconds: int
) -> None:
    policy = replace(policy, min_replicas=1, max_scale_down_rate=2.0)
    service = Service(policy)
    service.run(60, 1)
    service.run(seconds, burst)
    halvings = math.ceil(math.log2(service.wanted)) + 1
    windows = policy.stable_window + policy.panic_window
    service.run(
        windows + policy.scale_down_delay * 1.05 + halvings * (policy.panic_window + TICK) + 4 * TICK, 0
    )
    assert service.wanted == 1


def test_the_policy_is_what_the_spec_says() -> None:
    model = {"source": "hf://org/name"}
    assert policy_of(LLMServiceSpec.model_validate({"model": model, "replicas": 3})) == Fixed(3)
    scaling = {"minReplicas": 0, "maxReplicas": 9, "target": 5, "tolerance": "0.2", "scaleDownDelay": "1m"}
    spec = LLMServiceSpec.model_validate({"model": model, "autoscaling": scaling})
    assert policy_of(spec) == ScalingPolicy(0, 9, 5, 0.2, 60, 6, 2, 60, 600, 10, 2)
