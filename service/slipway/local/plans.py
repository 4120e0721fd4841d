"""What a local run should do next, decided without doing it.

`plan` compares what is wanted with what was observed and returns actions; the supervisor carries them out.
Called again with what came of them it returns what is left to do, and nothing once all is as wanted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

GATEWAY = "@gateway"
"""The gateway's group; no object can have this name."""


class State(StrEnum):
    """Where a replica is in its life."""

    STARTING = "Starting"
    READY = "Ready"
    UNREADY = "Unready"
    """Was ready, and does not answer its probes now."""
    DRAINING = "Draining"
    """Gets no new requests; is asked to stop as soon as the gateway knows."""
    STOPPING = "Stopping"
    """Was asked to finish and exit."""
    WAITING = "Waiting"
    """Ended unasked; is started again after its back-off."""
    FAILED = "Failed"
    """Never became ready; starting it again would fail again."""


LEAVING = (State.DRAINING, State.STOPPING)


@dataclass(frozen=True)
class Timing:
    """How long things take, in seconds."""

    backoff_first: float = 1
    """Wait before the first restart; doubled for each further one in a row."""
    backoff_most: float = 60
    healthy_after: float = 120
    """Ready for this long, a replica's earlier crashes no longer count."""
    probe_interval: float = 2
    probe_interval_starting: float = 0.5
    probe_timeout: float = 3
    unready_after: int = 2
    """Failed probes in a row after which a replica gets no more requests."""
    restart_after: int = 6
    """Failed probes in a row after which a replica is killed and started again."""
    drain_delay: float = 1
    """Between the removal of an endpoint and SIGTERM, so that the gateway sends nothing to a closed port."""
    drain_timeout: float = 40
    """Between SIGTERM and SIGKILL; engines take 30 s at most by themselves."""
    tick: float = 0.25
    """Between two looks at logs and objects."""


@dataclass(frozen=True)
class Wanted:
    """A group of like replicas that should run."""

    group: str
    revision: str
    replicas: int
    strategy: Literal["RollingUpdate", "Recreate"] = "RollingUpdate"


@dataclass(frozen=True)
class Replica:
    """One replica as observed. Times are those of the plan's clock."""

    group: str
    revision: str
    index: int
    state: State = State.STARTING
    since: float = 0
    """When it entered `state`."""
    was_ready: bool = False
    restarts: int = 0
    crashes: int = 0
    """Ends in a row without a time of health between them."""
    retry_at: float = 0
    failed_probes: int = 0
    killed: bool = False

    @property
    def key(self) -> tuple[str, str, int]:
        return (self.group, self.revision, self.index)


@dataclass(frozen=True)
class Start:
    """Start a replica that does not exist, or one that waits for its restart."""

    group: str
    revision: str
    index: int


@dataclass(frozen=True)
class Drain:
    """Take the replica from the endpoints; SIGTERM follows after `drain_delay`."""

    key: tuple[str, str, int]


@dataclass(frozen=True)
class Terminate:
    """SIGTERM."""

    key: tuple[str, str, int]


@dataclass(frozen=True)
class Kill:
    """SIGKILL, to the whole process group."""

    key: tuple[str, str, int]
    reason: Literal["DrainTimeout", "Unhealthy"]


@dataclass(frozen=True)
class Forget:
    """Drop the record of a replica that has no process."""

    key: tuple[str, str, int]


Action = Start | Drain | Terminate | Kill | Forget


def plan(wanted: Sequence[Wanted], replicas: Sequence[Replica], now: float, timing: Timing) -> list[Action]:
    """The actions that bring `replicas` closer to `wanted`, both any mix of groups and revisions."""
    actions: list[Action] = []
    for replica in replicas:
        actions += _overdue(replica, now, timing)
    busy = {action.key for action in actions if not isinstance(action, Start)}
    groups = {each.group: each for each in wanted}
    for group in groups.values():
        steps = _roll(group, [r for r in replicas if r.group == group.group])
        actions += [step for step in steps if isinstance(step, Start) or step.key not in busy]
    for replica in replicas:
        if replica.group not in groups and replica.key not in busy:
            actions += _drop(replica)
    return actions + [
        Start(r.group, r.revision, r.index)
        for r in replicas
        if r.state is State.WAITING and now >= r.retry_at and Forget(r.key) not in actions
    ]


def plan_stop(replicas: Sequence[Replica], now: float, timing: Timing) -> list[Action]:
    """The actions that end everything: the gateway first, so that what streams through it can finish."""
    actions: list[Action] = []
    gateway = any(r.group == GATEWAY and r.state not in (State.WAITING, State.FAILED) for r in replicas)
    for replica in replicas:
        if replica.state in (State.WAITING, State.FAILED):
            actions.append(Forget(replica.key))
        elif replica.state is State.STOPPING:
            actions += _overdue(replica, now, timing)
        elif replica.group == GATEWAY or not gateway or replica.state is State.STARTING:
            actions.append(Terminate(replica.key))
    return actions


def _overdue(replica: Replica, now: float, timing: Timing) -> Iterator[Action]:
    """What the time that passed asks for, whatever is wanted."""
    waited = now - replica.since
    if replica.state is State.DRAINING and waited >= timing.drain_delay:
        yield Terminate(replica.key)
    elif replica.state is State.STOPPING and waited >= timing.drain_timeout and not replica.killed:
        yield Kill(replica.key, "DrainTimeout")
    elif (
        replica.state in (State.READY, State.UNREADY)
        and replica.failed_probes >= timing.restart_after
        and not replica.killed
    ):
        yield Kill(replica.key, "Unhealthy")


def _roll(wanted: Wanted, mine: Sequence[Replica]) -> Iterator[Action]:
    """One group: its revision, its number of replicas, and the way from the old revision to the new one."""
    new = [r for r in mine if r.revision == wanted.revision and r.state not in LEAVING]
    old = [r for r in mine if r.revision != wanted.revision and r.state not in LEAVING]
    yield from (drop for r in new if r.index >= wanted.replicas for drop in _drop(r))
    new = [r for r in new if r.index < wanted.replicas]

    if any(r.state is State.FAILED for r in new):
        # The old revision goes on; nothing more is spent on the new one.
        yield from (drop for r in new if r.state is State.STARTING for drop in _drop(r))
        yield from (drop for r in old if r.state is State.FAILED for drop in _drop(r))
        return

    leaving = {r.index for r in mine if r.revision == wanted.revision and r.state in LEAVING}
    missing = [
        index
        for index in range(wanted.replicas)
        if index not in leaving and index not in {r.index for r in new}
    ]
    if wanted.strategy == "Recreate":
        yield from (drop for r in old for drop in _drop(r))
        if all(r.revision == wanted.revision for r in mine):
            yield from (Start(wanted.group, wanted.revision, index) for index in missing)
        return

    # One replica more than wanted may run while the old ones make room.
    room = wanted.replicas + 1 - len(new) - len(old) if old else len(missing)
    yield from (Start(wanted.group, wanted.revision, index) for index in missing[: max(room, 0)])
    yield from (drop for r in _spare(wanted, new, old) for drop in _drop(r))


def _spare(wanted: Wanted, new: Sequence[Replica], old: Sequence[Replica]) -> Iterator[Replica]:
    """The old replicas that nobody needs any more: none whose end would leave fewer than wanted ready."""
    ready_new = sum(r.state is State.READY for r in new)
    spare = ready_new + sum(r.state is State.READY for r in old) - wanted.replicas
    for replica in sorted(old, key=lambda r: r.index, reverse=True):
        if replica.state is State.READY:
            if spare > 0:
                spare -= 1
                yield replica
        elif not replica.was_ready or ready_new > 0 or wanted.replicas == 0:
            yield replica


def _drop(replica: Replica) -> Iterator[Action]:
    """The first step of a replica's end."""
    if replica.state in (State.WAITING, State.FAILED):
        yield Forget(replica.key)
    elif replica.state is State.READY:
        yield Drain(replica.key)
    elif replica.state in (State.STARTING, State.UNREADY):
        yield Terminate(replica.key)


def backoff(crashes: int, timing: Timing) -> float:
    """Seconds before the restart after `crashes` ends in a row (1 or more)."""
    return min(timing.backoff_first * 2.0 ** min(crashes - 1, 32), timing.backoff_most)


def ended(replica: Replica, now: float, timing: Timing, *, proven: bool) -> Replica | None:
    """The replica after its process ended; None where that was asked for.

    `proven` says that its revision was ready before, so that another start may well succeed.
    """
    if replica.state in LEAVING:
        return None
    if not replica.was_ready and not proven:
        return replace(replica, state=State.FAILED, since=now, failed_probes=0, killed=False)
    healthy = replica.state is State.READY and now - replica.since >= timing.healthy_after
    crashes = 1 if healthy else replica.crashes + 1
    return replace(
        replica,
        state=State.WAITING,
        since=now,
        crashes=crashes,
        retry_at=now + backoff(crashes, timing),
        failed_probes=0,
        killed=False,
    )


def probed(replica: Replica, now: float, timing: Timing, *, healthy: bool) -> Replica:
    """The replica after one probe."""
    if replica.state not in (State.STARTING, State.READY, State.UNREADY) or replica.killed:
        return replica
    if healthy:
        if replica.state is State.READY:
            return replace(replica, failed_probes=0)
        return replace(replica, state=State.READY, since=now, was_ready=True, failed_probes=0)
    if replica.state is State.STARTING:
        return replica
    failed = replica.failed_probes + 1
    if replica.state is State.READY and failed >= timing.unready_after:
        return replace(replica, state=State.UNREADY, since=now, failed_probes=failed)
    return replace(replica, failed_probes=failed)
