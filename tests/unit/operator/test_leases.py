"""Two candidates for one Lease: never do both act, and one does soon whenever it can."""

import asyncio
import copy
import random
from collections.abc import Callable
from typing import Any, cast

import pytest

from slipway.kube.client import Client
from slipway.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    UnreachableError,
    status_error,
)
from slipway.kube.kinds import Kind
from slipway_operator.leases import Election

DURATION, RENEW = 3.0, 0.5
Trouble = Callable[[], str]


@pytest.fixture
async def time(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """The loop's time passes at once when nothing happens before."""
    loop = cast("Any", asyncio.get_running_loop())
    now, select = [1000.0], loop._selector.select

    def pass_by(timeout: float | None) -> Any:
        ready = select(timeout if timeout is None else 0)
        if not ready:
            now[0] += timeout or 0.0
        return ready

    monkeypatch.setattr(loop._selector, "select", pass_by)
    monkeypatch.setattr(loop, "time", lambda: now[0])
    return lambda: now[0]


class Leases:
    """The API server's one Lease."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0

    def read(self) -> dict[str, Any]:
        if self.lease is None:
            raise NotFoundError(404, "NotFound", "")
        return copy.deepcopy(self.lease)

    def write(self, item: dict[str, Any], *, new: bool) -> dict[str, Any]:
        if new and self.lease is not None:
            raise AlreadyExistsError(409, "AlreadyExists", "")
        if not new and item["metadata"]["resourceVersion"] != str(self.version):
            raise ConflictError(409, "Conflict", "")
        self.version += 1
        self.lease = copy.deepcopy(item)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)

    @property
    def holder(self) -> str:
        return str(self.read()["spec"]["holderIdentity"])


class Caller:
    """A client whose calls may come late, fail, or be carried out without an answer."""

    def __init__(
        self, leases: Leases, trouble: Trouble = lambda: "", wait: Callable[[], float] = lambda: 0.01
    ):
        self._leases, self._trouble, self._wait = leases, trouble, wait

    async def _call(self, what: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        trouble = self._trouble()
        await asyncio.sleep(self._wait())
        if trouble == "fails":
            raise UnreachableError("away")
        if trouble == "refused":
            raise status_error(500, {})
        answer = what()
        await asyncio.sleep(self._wait())
        if trouble == "answer lost":
            raise UnreachableError("cut")
        return answer

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        return await self._call(self._leases.read)

    async def create(self, kind: Kind, item: dict[str, Any]) -> dict[str, Any]:
        return await self._call(lambda: self._leases.write(item, new=True))

    async def replace(self, kind: Kind, item: dict[str, Any]) -> dict[str, Any]:
        return await self._call(lambda: self._leases.write(item, new=False))


def candidate(name: str, caller: Caller, clock: Callable[[], float]) -> Election:
    return Election(cast("Client", caller), "n", "lease", name, DURATION, RENEW, clock, lambda text: None)


async def stand(election: Election) -> None:
    """Win, hold, and begin anew when the lead is lost."""
    while True:
        await election.win()
        await election.hold()


async def test_the_first_leads_and_the_second_waits(time: Callable[[], float]) -> None:
    leases = Leases()
    first, second = (candidate(name, Caller(leases), time) for name in ("first", "second"))
    await first.win()
    tasks = [asyncio.create_task(first.hold()), asyncio.create_task(stand(second))]
    await asyncio.sleep(60)
    assert (first.may_act, second.may_act, leases.holder) == (True, False, "first")
    for task in tasks:
        task.cancel()


async def test_a_lead_that_is_released_is_taken_at_once(time: Callable[[], float]) -> None:
    leases = Leases()
    first, second = (candidate(name, Caller(leases), time) for name in ("first", "second"))
    await first.win()
    began = time()
    await first.release()
    assert not first.may_act
    await second.win()
    assert time() - began < 2 * RENEW


async def test_the_lease_of_a_dead_one_is_taken_when_it_is_over_and_not_before(
    time: Callable[[], float],
) -> None:
    leases = Leases()
    first, second = (candidate(name, Caller(leases), time) for name in ("first", "second"))
    await first.win()
    began = time()
    await second.win()
    assert DURATION <= time() - began < DURATION + 2 * RENEW
    assert leases.read()["spec"]["leaseTransitions"] == 1


async def test_who_cannot_renew_stops_before_another_may_begin(time: Callable[[], float]) -> None:
    leases, away = Leases(), False
    first = candidate("first", Caller(leases, lambda: "fails" if away else ""), time)
    await first.win()
    holding = asyncio.create_task(first.hold())
    await asyncio.sleep(10)
    acted = first.may_act
    away, began = True, time()
    await holding
    assert (acted, first.may_act) == (True, False)
    assert time() - began < DURATION


async def test_a_call_that_hangs_is_not_waited_for_beyond_the_lead(time: Callable[[], float]) -> None:
    leases, wait = Leases(), 0.01
    first = candidate("first", Caller(leases, wait=lambda: wait), time)
    await first.win()
    wait, began = 100.0, time()
    await first.hold()
    assert not first.may_act
    assert time() - began <= DURATION * 2 / 3 + 0.1


async def test_a_lead_that_was_won_too_slowly_is_none(time: Callable[[], float]) -> None:
    waits = iter((DURATION, DURATION))
    slow = candidate("slow", Caller(Leases(), wait=lambda: next(waits, 0.01)), time)
    await slow.win()
    assert slow.may_act


async def test_a_renewal_is_one_call(time: Callable[[], float]) -> None:
    calls: list[float] = []

    def counted() -> str:
        calls.append(time())
        return ""

    first = candidate("first", Caller(Leases(), counted), time)
    await first.win()
    calls.clear()
    task = asyncio.create_task(first.hold())
    await asyncio.sleep(10.5 * RENEW)
    assert len(calls) == 10
    task.cancel()


async def test_a_lease_that_somebody_labels_stays_held_and_labelled(time: Callable[[], float]) -> None:
    leases = Leases()
    first = candidate("first", Caller(leases), time)
    await first.win()
    task = asyncio.create_task(first.hold())
    for _ in range(20):
        await asyncio.sleep(RENEW)
        lease = leases.read()
        lease["metadata"]["labels"] = {"seen": "yes"}
        leases.write(lease, new=False)
    assert first.may_act
    await asyncio.sleep(2 * RENEW)
    assert leases.read()["metadata"]["labels"] == {"seen": "yes"}
    task.cancel()


async def test_who_finds_another_holder_stops_at_once(time: Callable[[], float]) -> None:
    leases = Leases()
    first = candidate("first", Caller(leases), time)
    await first.win()
    lease = leases.read()
    lease["spec"] |= {"holderIdentity": "thief"}
    leases.write(lease, new=False)
    began = time()
    await first.hold()
    assert time() - began < 2 * RENEW
    await first.release()
    assert leases.holder == "thief"


@pytest.mark.parametrize("seed", range(10))
async def test_two_never_act_at_once_whatever_becomes_of_calls(time: Callable[[], float], seed: int) -> None:
    chance, leases = random.Random(seed), Leases()

    def spells() -> Trouble:
        """Well for a while, then cut off in one way or another."""
        spell, ends = "", 0.0

        def trouble() -> str:
            nonlocal spell, ends
            if time() >= ends:
                spell = chance.choice(("", "", "fails", "answer lost", "refused"))
                ends = time() + 3 * DURATION * chance.random()
            return spell

        return trouble

    def wait() -> float:
        return chance.choice((0.0, 0.01, 0.1, 0.1, DURATION * chance.random() * 2))

    def clock(ahead: float) -> Callable[[], float]:
        return lambda: time() + ahead

    both = [
        candidate(name, Caller(leases, spells(), wait), clock(ahead))
        for name, ahead in (("first", 0.0), ("second", 1e6))
    ]
    tasks = [asyncio.create_task(stand(each)) for each in both]
    led, end = set(), time() + 600
    while time() < end:
        acting = [each.identity for each in both if each.may_act]
        assert len(acting) < 2, f"at {time()}"
        led.update(acting)
        await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    assert led == {"first", "second"}
