"""A little cluster for rollouts: pods that become ready after a while, or never; gateways that count."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from slipway_operator.rollouts import (
    Broken,
    Counts,
    Observed,
    RevisionObserved,
    RolloutPolicy,
    RolloutState,
    Step,
    advance,
    command_of,
)


@dataclass(frozen=True)
class Image:
    """How a revision's pods behave."""

    starts_in: float | None = 3
    """Seconds; None: never."""
    error_rate: float = 0.0
    latency: float = 0.1
    broken: str = ""


@dataclass
class Pod:
    made_at: float
    ends_at: float | None = None


@dataclass
class World:
    """Pods by revision, a clock, the status, and what the deciding function made of it all."""

    policy: RolloutPolicy
    images: dict[str, Image]
    target: str = "a"
    replicas: int = 2
    now: float = 1_000_000.0
    status: dict[str, object] = field(default_factory=dict)
    annotation: str | None = None
    wanted: dict[str, int] = field(default_factory=dict)
    pods: dict[str, list[Pod]] = field(default_factory=dict)
    served: dict[str, Counts] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    ending: float = 2.0
    """Seconds that a pod takes to end."""
    requests: float = 20.0
    """A second."""
    held: bool = False
    silent: bool = False
    """Gateways do not answer."""

    def ready(self, revision: str) -> int:
        starts = self.images[revision].starts_in
        return sum(
            starts is not None and pod.ends_at is None and self.now - pod.made_at >= starts
            for pod in self.pods.get(revision, ())
        )

    def observed(self) -> Observed:
        names = {*self.wanted, *(name for name, pods in self.pods.items() if pods)}
        return Observed(
            self.target,
            self.replicas,
            {name: self.revision(name) for name in sorted(names)},
            command_of(self.annotation),
            self.history,
            self.held,
        )

    def revision(self, name: str) -> RevisionObserved:
        image, pods = self.images[name], self.pods.get(name, [])
        broken = Broken(image.broken, f"The pods of {name} cannot start") if image.broken and pods else None
        counts = None if self.silent else self.served.get(name)
        return RevisionObserved(self.wanted.get(name, 0), self.ready(name), len(pods), broken, counts)

    @property
    def state(self) -> RolloutState:
        return RolloutState.from_status(json.loads(json.dumps(self.status)))

    @property
    def step(self) -> Step:
        return self.steps[-1]

    @property
    def traffic(self) -> dict[str, int]:
        return dict(self.state.traffic)

    def command(self, text: str) -> None:
        self.annotation = f"{text}@{self.now * 1000:.0f}"

    def decide(self, *, killed: bool = False) -> Step:
        """One reconcile. `killed`: the operator dies after its replicas and before its status are written."""
        observed = self.observed()
        step = advance(self.policy, self.state, observed, self.now)
        again = advance(self.policy, step.state, observed, self.now)
        assert RolloutState.from_status(json.loads(json.dumps(step.state.to_status()))) == step.state
        if step.again_after is None or step.again_after > 0.1:
            assert (again.replicas, again.traffic, again.events) == (step.replicas, step.traffic, ())
        self.wanted = {name: count for name, count in step.replicas.items() if count or self.pods.get(name)}
        self.scale()
        if not killed:
            self.status = step.state.to_status()
            self.steps.append(step)
            if step.outcome is not None and step.outcome.result == "Complete":
                self.history.insert(0, step.outcome.revision)
        return step

    def scale(self) -> None:
        """What a Deployment's controller does: makes pods, or ends those first that are not ready."""
        for name, count in self.wanted.items():
            pods = self.pods.setdefault(name, [])
            alive = [pod for pod in pods if pod.ends_at is None]
            starts = self.images[name].starts_in
            alive.sort(key=lambda pod: starts is None or self.now - pod.made_at < starts)
            for pod in alive[count:]:
                pod.ends_at = self.now + self.ending
            pods += [Pod(self.now) for _ in range(count - len(alive))]

    def lose(self, name: str) -> None:
        """A pod dies without a word, and its Deployment makes another."""
        del self.pods.get(name, [])[:1]
        self.scale()

    def pass_time(self, seconds: float = 1.0) -> None:
        """Requests are served by the traffic in the status; ended pods vanish."""
        self.now += seconds
        for pods in self.pods.values():
            pods[:] = [pod for pod in pods if pod.ends_at is None or pod.ends_at > self.now]
        for name, weight in self.state.traffic:
            if self.ready(name):
                self.serve(name, self.requests * seconds * weight / 100)

    def serve(self, name: str, requests: float) -> None:
        image, before = self.images[name], self.served.get(name, Counts(0, 0, {}))
        bounds = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, math.inf)
        self.served[name] = Counts(
            before.requests + requests,
            before.errors + requests * image.error_rate,
            {
                bound: before.first_byte.get(bound, 0.0) + (requests if image.latency <= bound else 0.0)
                for bound in bounds
            },
        )

    def run(self, seconds: float, tick: float = 1.0) -> "World":
        for _ in range(max(1, round(seconds / tick))):
            self.decide()
            self.pass_time(tick)
        return self

    def deploy(self, target: str, seconds: float = 0) -> "World":
        self.target = target
        return self.run(seconds) if seconds else self

    @property
    def events(self) -> list[str]:
        return [event.reason for step in self.steps for event in step.events]

    @property
    def outcomes(self) -> list[tuple[str, str, str]]:
        found = (step.outcome for step in self.steps)
        return [(each.revision, each.result, each.reason) for each in found if each is not None]


def deployed(policy: RolloutPolicy, images: Mapping[str, Image] | None = None, replicas: int = 2) -> World:
    """A world in which revision `a` is rolled out and serves."""
    names: Sequence[str] = "abc"
    known = {name: Image() for name in names} | dict(images or {})
    world = World(policy, known, replicas=replicas).run(10)
    assert world.state.stable == "a"
    assert world.state.phase == "Complete"
    world.steps.clear()
    return world
