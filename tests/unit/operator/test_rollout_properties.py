"""Whatever happens in a rollout's middle, traffic flows and it ends with one revision."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_operator.analysis import AnalysisPolicy
from slipway_operator.rollouts import CanaryStep, RolloutPolicy, Step
from unit.operator.rolling_world import Image, World

IMAGES = st.builds(
    Image,
    starts_in=st.sampled_from([0.0, 2.0, 7.0, 7.0, None]),
    error_rate=st.sampled_from([0.0, 0.0, 0.0, 0.4]),
    latency=st.sampled_from([0.1, 0.1, 0.7]),
    broken=st.sampled_from(["", "", "", "ErrImagePull"]),
).map(lambda image: replace(image, starts_in=None) if image.broken else image)
PAUSES: list[float | Literal["manual"] | None] = [None, 3.0, 12.0, "manual"]
STEPS = st.lists(
    st.builds(CanaryStep, st.sampled_from([0, 1, 10, 34, 50, 100]), st.sampled_from(PAUSES)),
    max_size=3,
    unique_by=lambda step: step.weight,
).map(lambda steps: tuple(sorted(steps, key=lambda step: step.weight)))
POLICIES = st.builds(
    RolloutPolicy,
    strategy=st.sampled_from(["RollingUpdate", "Recreate", "BlueGreen", "Canary"]),
    steps=STEPS,
    analysis=st.sampled_from([None, AnalysisPolicy(interval=4, min_requests=10)]),
    progress_deadline=st.just(25.0),
    max_surge=st.integers(0, 3),
    paused=st.sampled_from([False, False, False, True]),
    scale_down_delay=st.just(8.0),
    drain=st.just(4.0),
)
HAPPENINGS = st.one_of(
    st.tuples(st.just("deploy"), st.sampled_from("abcd")),
    st.tuples(st.just("deploy"), st.sampled_from("abcd")),
    st.tuples(st.just("scale"), st.integers(0, 6)),
    st.tuples(
        st.just("command"),
        st.sampled_from(
            ["pause", "resume", "promote", "promote:full", "abort", "undo", "undo:a", "undo:b", "retry", "x"]
        ),
    ),
    st.tuples(st.just("policy"), POLICIES),
    st.tuples(st.just("lose"), st.sampled_from("abcd")),
    st.tuples(st.just("silent"), st.booleans()),
    st.tuples(st.just("held"), st.booleans()),
)
STORY = st.lists(st.tuples(HAPPENINGS, st.sampled_from([0, 1, 1, 2, 5, 15, 40]), st.booleans()), max_size=12)


class Watched(World):
    """Asserts after each decision what must hold whatever happens."""

    def decide(self, *, killed: bool = False) -> Step:
        before = {name: self.ready(name) for name in self.images}
        old_wanted, old_traffic, old_quiet = dict(self.wanted), self.traffic, dict(self.state.quiet)
        recreates = self.policy.strategy == "Recreate"
        step = super().decide(killed=killed)
        weights = dict(step.traffic)
        if weights:
            assert sum(weights.values()) == 100
            assert all(weight > 0 for weight in weights.values())
            assert set(weights) <= {*step.replicas, step.state.stable, step.state.canary}
        if any(before.values()):
            assert all(before[name] for name in weights), "traffic to a revision that cannot serve"
            assert weights
        if not recreates and self.replicas:
            if any(before.values()):
                assert any(self.ready(name) for name in weights), "the last ready pod with traffic went"
            for name, count in old_wanted.items():
                if count and before[name] and not step.replicas.get(name):
                    assert name not in weights
                    assert not old_traffic.get(name), "it still had traffic a moment ago"
                    assert self.now - old_quiet[name] >= self.policy.drain
            ready = sum(before.values())
            at_once = {each.revision for each in step.state.leaving if each.at_once}
            lost = at_once & {name for name, count in before.items() if count}
            if self.policy.strategy == "RollingUpdate" and not lost:
                assert sum(self.ready(name) for name in self.images) >= min(ready, self.replicas)
        if step.state.canary is not None and step.state.stable is not None:
            assert step.state.canary != step.state.stable
        assert (step.outcome is None) or step.message
        return step

    def happen(self, what: str, how: Any) -> None:
        actions: dict[str, Callable[[Any], None]] = {
            "deploy": lambda name: setattr(self, "target", name),
            "scale": lambda count: setattr(self, "replicas", count),
            "command": self.command,
            "policy": lambda policy: setattr(self, "policy", policy),
            "lose": self.lose,
            "silent": lambda silent: setattr(self, "silent", silent),
            "held": lambda held: setattr(self, "held", held),
        }
        actions[what](how)


@settings(deadline=None, max_examples=60)
@given(POLICIES, st.tuples(IMAGES, IMAGES, IMAGES, IMAGES), st.integers(0, 4), STORY)
def test_every_story_ends_with_one_revision_and_traffic_flows_meanwhile(
    policy: RolloutPolicy,
    images: tuple[Image, ...],
    replicas: int,
    story: list[tuple[tuple[str, Any], int, bool]],
) -> None:
    world = Watched(policy, dict(zip("abcd", images, strict=True)), replicas=replicas)
    world.run(12)
    for (what, how), seconds, killed in story:
        world.happen(what, how)
        for _ in range(seconds):
            world.decide(killed=killed)
            world.pass_time()
        world.decide()
    # Peace: nobody interferes any more, and somebody promotes what waits for it.
    world.silent = world.held = False
    world.policy = replace(world.policy, paused=False)
    world.replicas = max(1, world.replicas)
    world.command("resume")
    world.run(5)
    for _ in range(5):
        world.command("promote")
        world.run(60)
    state = world.state
    target = state.undo.to if state.undo is not None else world.target
    if state.stable is None:
        assert state.canary == target, "the first deployment is still tried"
        assert world.images[target].starts_in is None
        return
    assert state.canary is None
    if state.phase == "RolledBack":
        assert state.failed is not None
        assert state.failed.revision == target
    else:
        assert state.phase == "Complete"
        assert state.stable == target
    serving = {name: count for name, count in world.wanted.items() if count}
    if world.images[state.stable].starts_in is not None:
        assert serving == {state.stable: world.replicas}
        assert world.traffic == {state.stable: 100}
        assert world.ready(state.stable) == world.replicas
    settled = world.status
    world.run(20)
    assert world.status == settled
