"""What a local run does next, as tables, and a small world that plays plans through to their end."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.local.plans import (
    GATEWAY,
    LEAVING,
    Action,
    Drain,
    Forget,
    Kill,
    Replica,
    Start,
    State,
    Terminate,
    Timing,
    Wanted,
    backoff,
    ended,
    plan,
    plan_stop,
    probed,
)

TIMING = Timing()
NOW = 1000.0
READY, STARTING, UNREADY = State.READY, State.STARTING, State.UNREADY
DRAINING, STOPPING, WAITING, FAILED = State.DRAINING, State.STOPPING, State.WAITING, State.FAILED


def one(state: State, index: int = 0, revision: str = "new", **more: object) -> Replica:
    known: dict[str, object] = {"since": NOW, "was_ready": state in (READY, UNREADY, WAITING)}
    return replace(Replica("a", revision, index, state), **(known | more))  # type: ignore[arg-type]


def key(index: int = 0, revision: str = "new") -> tuple[str, str, int]:
    return ("a", revision, index)


ROLLING, RECREATE = Wanted("a", "new", 1), Wanted("a", "new", 1, "Recreate")
TWO = replace(ROLLING, replicas=2)
ZERO = replace(ROLLING, replicas=0)

TABLE: list[tuple[str, list[Wanted], list[Replica], list[Action]]] = [
    ("nothing wanted, nothing there", [], [], []),
    ("first start", [TWO], [], [Start("a", "new", 0), Start("a", "new", 1)]),
    ("all as wanted", [TWO], [one(READY), one(READY, 1)], []),
    ("starting is waited for", [ROLLING], [one(STARTING)], []),
    ("scale up", [TWO], [one(READY)], [Start("a", "new", 1)]),
    ("scale down drains the last", [ROLLING], [one(READY), one(READY, 1)], [Drain(key(1))]),
    ("scale to zero", [ZERO], [one(READY)], [Drain(key())]),
    ("scale down, not ready yet", [ZERO], [one(STARTING)], [Terminate(key())]),
    ("removed", [], [one(READY), one(STARTING, 1)], [Drain(key()), Terminate(key(1))]),
    ("removed while it waits", [], [one(WAITING, retry_at=NOW)], [Forget(key())]),
    ("an index that still stops is not started twice", [ROLLING], [one(STOPPING)], []),
    ("drained long enough", [], [one(DRAINING, since=NOW - 1)], [Terminate(key())]),
    ("drains", [], [one(DRAINING, since=NOW - 0.5)], []),
    ("stops", [], [one(STOPPING, since=NOW - 39)], []),
    ("does not stop", [], [one(STOPPING, since=NOW - 40)], [Kill(key(), "DrainTimeout")]),
    ("does not stop, killed already", [], [one(STOPPING, since=NOW - 50, killed=True)], []),
    ("back-off goes on", [ROLLING], [one(WAITING, retry_at=NOW + 1)], []),
    ("back-off is over", [ROLLING], [one(WAITING, retry_at=NOW)], [Start("a", "new", 0)]),
    ("hung", [ROLLING], [one(UNREADY, failed_probes=6)], [Kill(key(), "Unhealthy")]),
    ("nearly hung", [ROLLING], [one(UNREADY, failed_probes=5)], []),
    ("hung and killed already", [ROLLING], [one(UNREADY, failed_probes=9, killed=True)], []),
    ("hung and removed", [], [one(UNREADY, failed_probes=6)], [Kill(key(), "Unhealthy")]),
    ("rolling: new first", [ROLLING], [one(READY, revision="old")], [Start("a", "new", 0)]),
    ("rolling: new starts, old serves", [ROLLING], [one(READY, revision="old"), one(STARTING)], []),
    (
        "rolling: new is ready, old goes",
        [ROLLING],
        [one(READY, revision="old"), one(READY)],
        [Drain(key(revision="old"))],
    ),
    (
        "rolling: one more than wanted at a time",
        [TWO],
        [one(READY, revision="old"), one(READY, 1, "old")],
        [Start("a", "new", 0)],
    ),
    (
        "rolling: one by one",
        [TWO],
        [one(READY, revision="old"), one(READY, 1, "old"), one(READY)],
        [Drain(key(1, "old"))],
    ),
    (
        "rolling: the next one",
        [TWO],
        [one(READY, revision="old"), one(DRAINING, 1, "old"), one(READY)],
        [Start("a", "new", 1)],
    ),
    (
        "rolling and fewer: old ones make room first",
        [ROLLING],
        [one(READY, 0, "old"), one(READY, 1, "old"), one(READY, 2, "old")],
        [Drain(key(2, "old")), Drain(key(1, "old"))],
    ),
    (
        "rolling: an old one that was never ready goes at once",
        [ROLLING],
        [one(STARTING, revision="old")],
        [Start("a", "new", 0), Terminate(key(revision="old"))],
    ),
    (
        "rolling: an old one that crashed comes back while the new one starts",
        [ROLLING],
        [one(WAITING, revision="old", retry_at=NOW), one(STARTING)],
        [Start("a", "old", 0)],
    ),
    (
        "rolling: an old one that crashed is let go once the new one is ready",
        [ROLLING],
        [one(WAITING, revision="old", retry_at=NOW), one(READY)],
        [Forget(key(revision="old"))],
    ),
    ("bad new one: the old one stays", [ROLLING], [one(READY, revision="old"), one(FAILED)], []),
    (
        "bad new one: the old one is kept alive",
        [ROLLING],
        [one(WAITING, revision="old", retry_at=NOW), one(FAILED)],
        [Start("a", "old", 0)],
    ),
    (
        "bad new one: no more of it",
        [TWO],
        [one(READY, revision="old"), one(FAILED), one(STARTING, 1)],
        [Terminate(key(1))],
    ),
    (
        "bad one replaced by a third",
        [ROLLING],
        [one(READY, revision="old"), one(FAILED, revision="bad")],
        [Forget(key(revision="bad"))],
    ),
    (
        "back to the old one",
        [replace(ROLLING, revision="old")],
        [one(READY, revision="old"), one(STARTING)],
        [Terminate(key())],
    ),
    ("recreate: old first", [RECREATE], [one(READY, revision="old")], [Drain(key(revision="old"))]),
    ("recreate: old still stops", [RECREATE], [one(STOPPING, revision="old")], []),
    ("recreate: old is gone", [RECREATE], [], [Start("a", "new", 0)]),
    (
        "recreate: a crashed old one",
        [RECREATE],
        [one(WAITING, revision="old")],
        [Forget(key(revision="old"))],
    ),
]


@pytest.mark.parametrize(
    ("wanted", "replicas", "expected"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_the_plan(wanted: list[Wanted], replicas: list[Replica], expected: list[Action]) -> None:
    assert plan(wanted, replicas, NOW, TIMING) == expected


GATE = Replica(GATEWAY, "", 0, READY, NOW, True)


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [
        ([], []),
        ([GATE, one(READY)], [Terminate(GATE.key)]),
        ([replace(GATE, state=STOPPING), one(READY)], []),
        ([one(READY), one(UNREADY, 1), one(DRAINING, 2)], [Terminate(key(i)) for i in range(3)]),
        ([GATE, one(STARTING)], [Terminate(GATE.key), Terminate(key())]),
        ([GATE, one(WAITING), one(FAILED, 1)], [Terminate(GATE.key), Forget(key()), Forget(key(1))]),
        ([replace(GATE, state=WAITING), one(READY)], [Forget(GATE.key), Terminate(key())]),
        ([one(STOPPING, since=NOW - 40)], [Kill(key(), "DrainTimeout")]),
    ],
)
def test_the_plan_of_the_end_takes_the_gateway_first(replicas: list[Replica], expected: list[Action]) -> None:
    assert plan_stop(replicas, NOW, TIMING) == expected


def test_the_back_off_doubles_up_to_its_cap() -> None:
    assert [backoff(n, TIMING) for n in (1, 2, 3, 6, 7, 8, 1000)] == [1, 2, 4, 32, 60, 60, 60]


def test_a_crash_after_a_time_of_health_counts_as_the_first() -> None:
    tired = one(READY, crashes=5, since=NOW - TIMING.healthy_after)
    after = ended(tired, NOW, TIMING, proven=True)
    assert after is not None
    assert (after.state, after.crashes, after.retry_at) == (WAITING, 1, NOW + 1)
    again = ended(replace(tired, since=NOW - 5), NOW, TIMING, proven=True)
    assert again is not None
    assert (again.crashes, again.retry_at) == (6, NOW + 32)


@pytest.mark.parametrize(
    ("before", "proven", "after"),
    [
        (one(STARTING), False, FAILED),
        (one(STARTING), True, WAITING),
        (one(STARTING, was_ready=True), False, WAITING),
        (one(UNREADY), True, WAITING),
        (one(DRAINING), True, None),
        (one(STOPPING), False, None),
    ],
)
def test_what_an_end_makes_of_a_replica(before: Replica, proven: bool, after: State | None) -> None:
    result = ended(before, NOW, TIMING, proven=proven)
    assert (result.state if result else None) == after


def test_probes_make_a_replica_ready_unready_and_ready_again() -> None:
    replica = one(STARTING, since=0)
    states = []
    for healthy in (False, False, False, True, False, True, False, False, False, True):
        replica = probed(replica, NOW, TIMING, healthy=healthy)
        states.append((replica.state, replica.failed_probes))
    assert states == [
        *[(STARTING, 0)] * 3,
        *[(READY, 0), (READY, 1), (READY, 0), (READY, 1)],
        *[(UNREADY, 2), (UNREADY, 3), (READY, 0)],
    ]
    assert probed(one(DRAINING), NOW, TIMING, healthy=True).state is DRAINING


@dataclass
class World:
    """Replicas that do what actions ask for, one step of time each."""

    bad: frozenset[str] = frozenset()
    """Revisions that die at their start."""
    now: float = 0
    replicas: dict[tuple[str, str, int], Replica] = field(default_factory=dict)
    least_ready: int = 1 << 30
    most_alive: int = 0

    def settle(self, wanted: Sequence[Wanted]) -> int:
        """Play until nothing is left to do; the number of steps."""
        self.least_ready, self.most_alive = 1 << 30, 0
        for step in range(400):
            actions = plan(wanted, list(self.replicas.values()), self.now, TIMING)
            assert len({repr(action) for action in actions}) == len(actions), actions
            for action in actions:
                self.act(action)
            busy = [r for r in self.replicas.values() if r.state in (STARTING, WAITING, *LEAVING)]
            if not actions and not busy:
                return step
            self.pass_time()
        raise AssertionError(f"does not come to rest: {self.replicas}")

    def act(self, action: Action) -> None:
        match action:
            case Start(group, revision, index):
                before = self.replicas.get((group, revision, index))
                assert before is None or before.state is WAITING
                fresh = before or Replica(group, revision, index)
                self.replicas[fresh.key] = replace(fresh, state=STARTING, since=self.now)
            case Drain(at):
                assert self.replicas[at].state is READY
                self.replicas[at] = replace(self.replicas[at], state=DRAINING, since=self.now)
            case Terminate(at):
                self.replicas[at] = replace(self.replicas[at], state=STOPPING, since=self.now)
            case Kill(at):
                self.end(at)
            case Forget(at):
                assert self.replicas.pop(at).state in (WAITING, FAILED)
        self.measure()

    def end(self, at: tuple[str, str, int]) -> None:
        revision = at[1]
        proven = any(r.was_ready for r in self.replicas.values() if r.revision == revision)
        after = ended(self.replicas.pop(at), self.now, TIMING, proven=proven)
        if after is not None:
            self.replicas[at] = after

    def pass_time(self) -> None:
        self.now += 1
        for at, replica in list(self.replicas.items()):
            if replica.state is STARTING and self.now - replica.since >= 2:
                if replica.revision in self.bad:
                    self.end(at)
                else:
                    self.replicas[at] = probed(replica, self.now, TIMING, healthy=True)
            elif replica.state is STOPPING and self.now - replica.since >= 2:
                self.end(at)
        self.measure()

    def measure(self) -> None:
        states = [replica.state for replica in self.replicas.values()]
        self.least_ready = min(self.least_ready, states.count(READY))
        self.most_alive = max(self.most_alive, sum(s in (STARTING, READY, UNREADY) for s in states))

    def ready(self) -> list[tuple[str, int]]:
        return sorted((r.revision, r.index) for r in self.replicas.values() if r.state is READY)


COUNTS = st.integers(0, 4)


@given(COUNTS, COUNTS)
def test_a_rolling_update_never_serves_from_fewer_than_it_should(before: int, after: int) -> None:
    world = World()
    world.settle([Wanted("a", "1", before)])
    world.settle([Wanted("a", "2", after)])
    assert world.ready() == [("2", index) for index in range(after)]
    assert len(world.replicas) == after
    assert world.least_ready >= min(before, after)
    assert world.most_alive <= max(before, after + 1)


@given(COUNTS, COUNTS)
def test_recreate_never_runs_two_revisions(before: int, after: int) -> None:
    world = World()
    world.settle([Wanted("a", "1", before, "Recreate")])
    world.settle([Wanted("a", "2", after, "Recreate")])
    assert world.ready() == [("2", index) for index in range(after)]
    assert world.most_alive <= max(before, after)


@given(st.integers(1, 4), st.integers(1, 4))
def test_a_bad_revision_takes_nothing_from_the_old_one(before: int, after: int) -> None:
    world = World(bad=frozenset({"2"}))
    world.settle([Wanted("a", "1", before)])
    world.settle([Wanted("a", "2", after)])
    assert [revision for revision, _ in world.ready()] == ["1"] * min(before, after)
    world.settle([Wanted("a", "3", after)])
    assert world.ready() == [("3", index) for index in range(after)]
    assert len(world.replicas) == after


@given(st.lists(st.tuples(st.sampled_from("123"), COUNTS, st.integers(0, 8)), min_size=1, max_size=6))
@settings(deadline=None)
def test_whatever_is_asked_for_meanwhile_the_last_wish_comes_true(wishes: list[tuple[str, int, int]]) -> None:
    world = World(bad=frozenset({"3"}))
    for revision, count, steps in wishes:
        for _ in range(steps):
            for action in plan(
                [Wanted("a", revision, count)], list(world.replicas.values()), world.now, TIMING
            ):
                world.act(action)
            world.pass_time()
    world.settle([Wanted("a", "1", 2)])
    assert world.ready() == [("1", 0), ("1", 1)]
    assert len(world.replicas) == 2
