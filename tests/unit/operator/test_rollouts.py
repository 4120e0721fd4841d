"""A rollout ends with the new revision, or with the old one and the reason; traffic flows all the while."""

from dataclasses import replace

import pytest

from slipway.objects import LLMServiceSpec
from slipway_operator.analysis import AnalysisPolicy, Counts, observe
from slipway_operator.rollouts import CanaryStep, RolloutPolicy, command_of, policy_of
from slipway_operator.traffic import shares
from unit.operator.rolling_world import Image, World, deployed

ROLLING = RolloutPolicy(progress_deadline=60)
RECREATE = replace(ROLLING, strategy="Recreate")
BLUE_GREEN = replace(ROLLING, strategy="BlueGreen")
STEPS = (CanaryStep(10, 20), CanaryStep(50, "manual"))
CANARY = replace(ROLLING, strategy="Canary", steps=STEPS)
EVERY = [ROLLING, RECREATE, BLUE_GREEN, CANARY]
ANALYSIS = AnalysisPolicy(interval=5, min_requests=20)


def ids(policy: RolloutPolicy) -> str:
    return policy.strategy


# The first deployment


@pytest.mark.parametrize("policy", EVERY, ids=ids)
def test_the_first_deployment_goes_straight_out(policy: RolloutPolicy) -> None:
    world = World(policy, {"a": Image()}, replicas=3)
    world.run(1)
    assert world.step.replicas == {"a": 3}
    assert world.traffic == {"a": 100}
    world.run(4)
    assert world.outcomes == [("a", "Complete", "Complete")]
    assert world.state.stable == "a"


def test_a_first_deployment_that_cannot_start_says_so_and_goes_on_trying() -> None:
    world = World(ROLLING, {"a": Image(None, broken="ErrImagePull")})
    world.run(5)
    assert (world.step.reason, world.state.phase) == ("ErrImagePull", "Progressing")
    assert (
        world.step.message == "0 of 2 replicas are ready of the first revision a: The pods of a cannot start"
    )
    assert world.events.count("ErrImagePull") == 1
    world.images["a"] = Image()
    world.run(5)
    assert world.state.phase == "Complete"


def test_a_first_deployment_that_hangs_says_so_after_the_deadline() -> None:
    world = World(ROLLING, {"a": Image(None)}).run(70)
    assert world.step.reason == "ProgressDeadlineExceeded"
    assert world.wanted == {"a": 2}


def test_a_half_started_first_deployment_keeps_serving_while_its_successor_starts() -> None:
    world = World(ROLLING, {"a": Image(), "b": Image()}, replicas=2)
    world.decide()
    world.pods["a"].pop()
    world.pass_time(3)
    assert world.ready("a") == 1
    world.target = "b"
    world.run(3)
    assert world.traffic == {"a": 100}
    assert world.state.stable == "a", "there is something to return to"
    world.run(30)
    assert world.state.stable == "b"


# Strategies


def test_rolling_update_never_has_fewer_ready_than_wanted_nor_more_than_the_surge() -> None:
    world = deployed(ROLLING, replicas=4)
    world.target = "b"
    shared = set()
    for _ in range(60):
        world.run(1)
        assert world.ready("a") + world.ready("b") >= 4
        assert sum(world.wanted.values()) <= 5
        shared.add(world.traffic.get("b", 0))
    assert {25, 50, 75, 100} <= shared
    assert world.wanted == {"b": 4}
    assert world.outcomes == [("b", "Complete", "Complete")]


def test_the_last_old_replicas_go_when_they_had_no_traffic_for_a_moment() -> None:
    world = deployed(replace(ROLLING, drain=7), replicas=1)
    world.target = "b"
    world.run(4)
    assert world.traffic == {"b": 100}
    assert world.wanted == {"a": 1, "b": 1}
    world.run(6)
    assert world.wanted["a"] == 1
    world.run(2)
    assert world.wanted["a"] == 0


def test_recreate_ends_the_old_replicas_before_the_new_ones_start() -> None:
    world = deployed(RECREATE, replicas=2)
    world.target = "b"
    for _ in range(20):
        world.run(1)
        assert not (world.pods.get("a") and world.pods.get("b"))
    assert world.state.stable == "b"
    assert world.wanted == {"b": 2}


def test_recreate_that_fails_starts_the_old_replicas_again() -> None:
    world = deployed(RECREATE, {"b": Image(None)}, replicas=2)
    world.target = "b"
    for _ in range(80):
        world.run(1)
        assert not (world.pods.get("a") and world.pods.get("b"))
    assert world.ready("a") == 2
    assert world.state.reason == "ProgressDeadlineExceeded"


def test_blue_green_switches_when_all_are_ready_and_keeps_the_old_ones_for_a_while() -> None:
    world = deployed(BLUE_GREEN, replicas=3)
    world.target = "b"
    world.run(3)
    assert world.traffic == {"a": 100}
    world.run(2)
    assert world.traffic == {"b": 100}
    world.run(28)
    assert world.wanted == {"a": 3, "b": 3}
    assert world.state.stable == "a"
    world.run(5)
    assert world.wanted == {"b": 3}
    assert world.state.stable == "b"


def test_blue_green_goes_back_at_once_while_the_old_ones_are_kept() -> None:
    world = deployed(BLUE_GREEN, replicas=3)
    world.deploy("b", 10)
    assert world.traffic == {"b": 100}
    world.command("undo")
    world.decide()
    assert world.traffic == {"a": 100}
    assert world.wanted["b"] == 3, "its streams end first"
    world.run(10)
    assert world.wanted.get("b", 0) == 0
    assert world.outcomes == [("b", "Aborted", "Aborted")]


def test_a_canary_goes_by_steps_with_replicas_after_its_weight() -> None:
    world = deployed(CANARY, replicas=4)
    world.deploy("b", 5)
    assert (world.traffic, world.wanted) == ({"a": 90, "b": 10}, {"a": 4, "b": 1})
    assert world.step.reason == "StepPaused"
    assert world.step.message == "Pauses for 20 s at step 1 of 2, 10% of the traffic to revision b."
    world.run(20)
    assert world.traffic == {"a": 75, "b": 25}, "as many as its one replica is for"
    world.run(500)
    assert (world.traffic, world.wanted) == ({"a": 50, "b": 50}, {"a": 4, "b": 2})
    assert (world.state.phase, world.step.reason) == ("Paused", "AwaitingPromotion")
    world.command("promote")
    lowest = 100
    for _ in range(30):
        world.run(1)
        lowest = min(lowest, world.traffic.get("b", 0))
        assert world.ready("a") + world.ready("b") >= 4
    assert lowest >= 50
    assert world.wanted == {"b": 4}
    assert world.outcomes == [("b", "Complete", "Complete")]


def test_promote_full_takes_all_steps() -> None:
    world = deployed(CANARY, replicas=2)
    world.deploy("b", 2)
    world.command("promote:full")
    world.run(30)
    assert world.state.stable == "b"


def test_a_command_is_carried_out_once() -> None:
    world = deployed(replace(CANARY, steps=(*STEPS, CanaryStep(70, "manual"))), replicas=2)
    world.deploy("b", 30)
    world.command("promote")
    world.run(30)
    assert world.state.step == 2
    assert world.events.count("Promoted") == 1


# Rollbacks


@pytest.mark.parametrize("policy", [ROLLING, BLUE_GREEN, CANARY], ids=ids)
def test_a_revision_that_never_starts_is_taken_back(policy: RolloutPolicy) -> None:
    world = deployed(policy, {"b": Image(None)})
    world.target = "b"
    for _ in range(90):
        world.run(1)
        assert world.ready("a") == 2
        assert world.traffic == {"a": 100}
    assert world.wanted == {"a": 2}
    assert world.state.phase == "RolledBack"
    assert world.outcomes == [("b", "RolledBack", "ProgressDeadlineExceeded")]
    assert "0 of " in world.step.message
    assert "within 60 s" in world.step.message
    assert world.events.count("RolledBack") == 1


def test_a_revision_that_cannot_mend_is_taken_back_at_once() -> None:
    world = deployed(ROLLING, {"b": Image(None, broken="ModelNotFound")})
    world.deploy("b", 8)
    assert world.wanted == {"a": 2}
    assert world.step.reason == "ModelNotFound"
    assert world.step.message == "Revision b was taken back to a: The pods of b cannot start."


ANALYSED = [
    replace(ROLLING, analysis=ANALYSIS),
    replace(BLUE_GREEN, analysis=ANALYSIS),
    replace(CANARY, analysis=ANALYSIS),
]


@pytest.mark.parametrize("policy", ANALYSED, ids=ids)
def test_a_revision_that_fails_requests_is_taken_back_with_the_numbers(policy: RolloutPolicy) -> None:
    world = deployed(policy, {"a": Image(error_rate=0.01), "b": Image(error_rate=0.3)}, replicas=1)
    world.deploy("b", 60)
    assert world.outcomes == [("b", "RolledBack", "ErrorRate")]
    assert "requests failed (30.0%; stable 1.0%), and 5.0% more than stable is allowed, 2 times in a row" in (
        world.step.message
    )
    assert world.wanted == {"a": 1}
    assert world.traffic == {"a": 100}


@pytest.mark.parametrize("policy", ANALYSED, ids=ids)
def test_a_revision_that_is_slow_is_taken_back_with_the_numbers(policy: RolloutPolicy) -> None:
    world = deployed(policy, {"b": Image(latency=0.7)}, replicas=1)
    world.deploy("b", 60)
    assert world.outcomes == [("b", "RolledBack", "Latency")]
    assert "first byte is 0.760 s" in world.step.message
    assert "(stable 0.095 s), 8.0 times as long, and 1.5 times is allowed" in world.step.message


@pytest.mark.parametrize("policy", ANALYSED, ids=ids)
def test_a_good_revision_passes_the_analysis(policy: RolloutPolicy) -> None:
    world = deployed(policy, {"a": Image(error_rate=0.02), "b": Image(error_rate=0.04)}, replicas=1)
    world.deploy("b", 60)
    world.command("promote")
    world.run(40)
    assert world.outcomes == [("b", "Complete", "Complete")]


def test_a_single_bad_window_takes_nothing_back() -> None:
    world = deployed(replace(CANARY, analysis=replace(ANALYSIS, failure_limit=3)), replicas=1)
    world.deploy("b", 20)
    world.images["b"] = Image(error_rate=0.5)
    world.run(6)
    world.images["b"] = Image()
    world.run(60)
    assert world.state.canary == "b"
    assert world.state.analysis is not None
    assert world.state.analysis.failures == 0


def test_too_few_requests_are_not_judged() -> None:
    world = deployed(replace(CANARY, analysis=ANALYSIS), {"b": Image(error_rate=1)}, replicas=1)
    world.requests = 0.1
    world.deploy("b", 200)
    assert world.state.canary == "b"


def test_a_step_without_a_pause_lasts_until_a_comparison_was_good() -> None:
    policy = replace(CANARY, steps=(CanaryStep(20), CanaryStep(60)), analysis=ANALYSIS)
    world = deployed(policy, replicas=1)
    world.requests = 2
    world.deploy("b", 40)
    assert world.state.step == 0
    world.run(40)
    assert world.state.stable == "b"


def test_gateways_that_begin_to_count_anew_do_not_confuse_the_analysis() -> None:
    world = deployed(replace(CANARY, analysis=ANALYSIS), replicas=1)
    world.deploy("b", 12)
    world.served = {}
    world.run(2)
    world.silent = True
    world.run(20)
    world.silent = False
    world.run(20)
    assert world.state.canary == "b"
    assert world.outcomes == []


def test_a_revision_taken_back_is_not_tried_again_until_retry_or_another_spec() -> None:
    world = deployed(ROLLING, {"b": Image(None, broken="ErrImagePull")})
    world.deploy("b", 30)
    world.images["b"] = Image()
    world.run(100)
    assert world.wanted == {"a": 2}
    world.command("retry")
    world.run(30)
    assert world.state.stable == "b"
    world.images["c"] = Image(None, broken="ErrImagePull")
    world.deploy("c", 30)
    world.deploy("b", 10)
    assert (world.state.phase, world.state.failed) == ("Complete", None)
    world.images["c"] = Image()
    world.deploy("c", 40)
    assert world.state.stable == "c"


def test_a_late_rollback_keeps_the_new_replicas_until_the_old_ones_are_back() -> None:
    world = deployed(ROLLING, replicas=4)
    world.deploy("b", 10)
    assert world.ready("b") >= 2
    world.images["a"] = Image(starts_in=20)
    world.command("abort")
    for _ in range(60):
        world.run(1)
        assert world.ready("a") + world.ready("b") >= 4
    assert world.wanted == {"a": 4}


def test_a_revision_that_fails_requests_gets_none_as_soon_as_another_can() -> None:
    policy = replace(ROLLING, analysis=ANALYSIS)
    world = deployed(policy, {"b": Image(starts_in=8, error_rate=1)}, replicas=4)
    world.target = "b"
    while not world.outcomes:
        world.run(1)
    assert world.outcomes == [("b", "RolledBack", "ErrorRate")]
    assert world.traffic == {"a": 100}


def test_the_deadline_counts_from_the_last_replica_that_became_ready() -> None:
    world = deployed(ROLLING, {"b": Image(starts_in=40)}, replicas=3)
    world.deploy("b", 150)
    assert world.outcomes == [("b", "Complete", "Complete")]


def test_a_revision_that_starts_in_part_only_is_taken_back() -> None:
    class Stuck(World):
        def ready(self, revision: str) -> int:
            return min(1, super().ready(revision)) if revision == "b" else super().ready(revision)

    world = Stuck(ROLLING, {"a": Image(), "b": Image()}, replicas=3).run(10)
    world.deploy("b", 80)
    assert world.outcomes[-1] == ("b", "RolledBack", "ProgressDeadlineExceeded")
    assert "1 of 3 replicas were ready, and no further one within 60 s" in world.step.message


def test_a_rolling_update_compares_before_the_last_old_replica_goes() -> None:
    world = deployed(replace(ROLLING, analysis=ANALYSIS), replicas=1)
    world.deploy("b", 7)
    assert world.step.reason == "Baking"
    assert world.traffic == {"a": 50, "b": 50}


def test_a_bad_comparison_holds_a_step_but_not_for_ever_if_traffic_ends() -> None:
    policy = replace(CANARY, steps=(CanaryStep(50, 10), CanaryStep(60, "manual")), analysis=ANALYSIS)
    world = deployed(policy, {"b": Image(error_rate=1)}, replicas=1)
    world.target = "b"
    while world.state.analysis is None or world.state.analysis.failures == 0:
        world.run(1)
    world.requests = 0
    world.run(20)
    assert world.state.step == 0
    world.run(20)
    assert world.state.step == 1


def test_counts_that_went_back_begin_the_window_anew() -> None:
    begun = observe(ANALYSIS, None, "b", "a", {"b": Counts(500, 0), "a": Counts(500, 0)}, 0)
    reset = observe(ANALYSIS, begun, "b", "a", {"b": Counts(10, 10), "a": Counts(900, 0)}, 10)
    assert (reset.started_at, reset.counts["b"].requests) == (10, 10)
    closed = observe(ANALYSIS, reset, "b", "a", {"b": Counts(50, 10), "a": Counts(1000, 0)}, 20)
    assert (closed.failures, closed.good) == (0, True)


# In the middle


def test_a_service_that_grows_in_the_middle_grows_by_the_new_revision_once_that_starts() -> None:
    world = deployed(ROLLING, replicas=2)
    world.target = "b"
    while not world.ready("b"):
        world.run(1)
    world.replicas = 6
    for _ in range(30):
        world.run(1)
        assert world.wanted.get("a", 0) <= 2
    assert world.wanted == {"b": 6}


def test_a_lost_status_does_not_take_away_what_serves() -> None:
    world = deployed(ROLLING, {"b": Image(starts_in=20)})
    world.status = {}
    world.target = "b"
    for second in range(60):
        if second == 10:
            world.lose("b")
        world.run(1)
        assert world.ready("a") + world.ready("b") >= 2
        assert world.traffic
    assert world.wanted == {"b": 2}


def test_a_step_without_traffic_gets_it_all_if_nothing_else_is_ready() -> None:
    world = deployed(replace(CANARY, steps=(CanaryStep(0, "manual"),)))
    world.images["a"] = Image(None)
    world.deploy("b", 6)
    assert world.traffic == {"b": 100}


def test_a_newer_revision_replaces_a_rollout_in_the_middle() -> None:
    world = deployed(CANARY, replicas=2)
    world.deploy("b", 10)
    world.deploy("c", 3)
    assert world.outcomes == [("b", "Superseded", "Superseded")]
    assert "b" not in world.traffic
    world.run(10)
    assert world.wanted == {"a": 2, "c": 1}
    assert world.traffic == {"a": 90, "c": 10}


def test_a_return_to_the_stable_revision_ends_the_rollout() -> None:
    world = deployed(CANARY, replicas=2)
    world.deploy("b", 10)
    world.deploy("a", 15)
    assert world.wanted == {"a": 2}
    assert (world.state.phase, world.state.reason) == ("Complete", "ReturnedToStable")


@pytest.mark.parametrize("policy", EVERY, ids=ids)
def test_scaling_in_the_middle_counts(policy: RolloutPolicy) -> None:
    world = deployed(policy, replicas=2)
    world.deploy("b", 4)
    world.replicas = 5
    world.run(30)
    world.replicas = 3
    world.run(30)
    world.command("promote:full")
    world.run(60)
    assert world.wanted == {"b": 3}
    assert world.ready("b") == 3


@pytest.mark.parametrize("policy", EVERY, ids=ids)
def test_at_zero_a_rollout_waits_for_the_next_replica(policy: RolloutPolicy) -> None:
    world = deployed(policy, replicas=2)
    world.replicas = 0
    world.run(10)
    world.deploy("b", 300)
    assert world.step.reason == "ScaledToZero"
    assert not any(world.wanted.values())
    world.replicas = 1
    world.run(60)
    world.command("promote:full")
    world.run(60)
    assert world.wanted == {"b": 1}


@pytest.mark.parametrize("policy", EVERY, ids=ids)
def test_a_paused_rollout_does_not_start(policy: RolloutPolicy) -> None:
    world = deployed(policy)
    world.policy = replace(policy, paused=True)
    world.deploy("b", 100)
    assert world.wanted == {"a": 2}
    assert world.state.phase == "Paused"
    world.command("resume")
    world.run(3)
    assert world.events == ["StillPaused"]
    world.policy = policy
    world.run(5)
    assert world.state.canary == "b"


@pytest.mark.parametrize("policy", [ROLLING, BLUE_GREEN, CANARY], ids=ids)
def test_pause_stops_in_the_middle_and_resume_goes_on(policy: RolloutPolicy) -> None:
    world = deployed(policy, replicas=3)
    world.deploy("b", 2)
    world.command("pause")
    world.run(2)
    held = dict(world.wanted)
    world.run(200)
    assert world.wanted == held
    assert world.state.phase == "Paused"
    world.command("resume")
    world.run(40)
    world.command("promote")
    world.run(60)
    assert world.wanted == {"b": 3}


def test_a_revision_whose_model_is_not_there_yet_is_held() -> None:
    world = deployed(ROLLING)
    world.held = True
    world.deploy("b", 30)
    assert (world.wanted, world.state.reason) == ({"a": 2}, "Held")
    world.held = False
    world.run(30)
    assert world.state.stable == "b"


def test_undo_returns_to_the_revision_before_until_the_spec_changes() -> None:
    world = deployed(CANARY)
    world.policy = ROLLING
    world.deploy("b", 30)
    world.policy = replace(CANARY, paused=True)
    world.command("undo")
    world.run(30)
    assert world.wanted == {"a": 2}
    assert world.state.reason == "Undone"
    assert world.step.message == "Returned to revision a; the spec still asks for b."
    world.policy = ROLLING
    world.run(60)
    assert world.wanted == {"a": 2}
    world.deploy("c", 30)
    assert world.wanted == {"c": 2}


def test_undo_to_a_named_revision_and_retry_back() -> None:
    world = deployed(ROLLING)
    world.deploy("b", 30).deploy("c", 30)
    world.command("undo:a")
    world.run(30)
    assert world.wanted == {"a": 2}
    world.command("retry")
    world.run(30)
    assert world.wanted == {"c": 2}


@pytest.mark.parametrize(
    ("command", "event"),
    [
        ("undo:zzz", "NothingToUndo"),
        ("undo", "NothingToUndo"),
        ("promote", "NothingToPromote"),
        ("abort", "NothingToAbort"),
        ("retry", "NothingToRetry"),
        ("dance", "UnknownCommand"),
    ],
)
def test_a_command_that_does_not_fit_changes_nothing_and_says_so(command: str, event: str) -> None:
    world = deployed(ROLLING)
    before = world.wanted, world.traffic, world.state.phase
    world.command(command)
    world.run(3)
    assert (world.wanted, world.traffic, world.state.phase) == before
    assert world.events == [event]
    assert world.steps[0].events[0].type == "Warning"


def test_what_is_left_over_by_others_is_removed() -> None:
    world = deployed(ROLLING)
    world.wanted["c"] = 2
    world.scale()
    world.run(10)
    assert world.wanted == {"a": 2}


def test_a_broken_stable_revision_does_not_keep_the_new_one_out() -> None:
    world = deployed(CANARY)
    world.images["a"] = Image(None)
    world.deploy("b", 6)
    assert world.traffic == {"b": 100}
    world.command("promote:full")
    world.run(30)
    assert world.wanted == {"b": 2}


def test_nothing_changes_where_nothing_is_to_do() -> None:
    world = deployed(ROLLING).run(10)
    settled = world.status
    world.run(50)
    assert world.status == settled
    assert world.step.again_after is None
    assert world.events == []


def test_time_alone_is_asked_for_where_it_makes_the_next_move() -> None:
    world = deployed(CANARY)
    world.deploy("b", 5)
    assert world.step.again_after is not None
    world.pass_time(world.step.again_after + 0.01)
    assert world.decide().state.step == 1


# Small parts


def test_commands_are_read() -> None:
    command = command_of("undo:4f0c@1700000000000")
    assert command is not None
    assert (command.verb, command.argument) == ("undo", "4f0c")
    assert command_of(None) is None
    assert command_of("") is None


def test_shares_are_whole_and_leave_nobody_out() -> None:
    assert shares({"a": 1, "b": 1, "c": 1}) == {"a": 34, "b": 33, "c": 33}
    assert shares({"a": 999, "b": 1}) == {"a": 99, "b": 1}
    assert shares({"a": 0}) == {}


def test_the_policy_is_what_the_spec_says() -> None:
    spec = LLMServiceSpec.model_validate(
        {
            "model": {"source": "hf://org/name"},
            "rollout": {
                "strategy": "Canary",
                "steps": [{"weight": 5}, {"weight": 10, "pause": "5m"}, {"weight": 50, "pause": "manual"}],
                "analysis": {"interval": "20s", "maxErrorRate": "0.1", "maxLatencyFactor": "2"},
                "progressDeadline": "10m",
                "maxSurge": 2,
            },
        }
    )
    assert policy_of(spec) == RolloutPolicy(
        "Canary",
        (CanaryStep(5), CanaryStep(10, 300), CanaryStep(50, "manual")),
        AnalysisPolicy(20, 20, 0.1, 2, 2),
        600,
        2,
    )
