"""Processes on one Redis, of which some are killed or stopped: nothing is counted twice, nothing is lost."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from integration.awaiting import until
from integration.limits.properties import KEY
from integration.limits.stores import store_on, used
from integration.limits.worker import ESTIMATE, TRUTH
from integration.redis_server import Redis
from slipway.gateway.limits import Rates, Subject

N = 3000
AT_ONCE = 8


class Worker:
    """One such process."""

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "integration.limits.worker", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert self.answer() == "ready"

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, line: str) -> str:
        self.tell(line)
        return self.answer()

    def rest(self) -> list[str]:
        """All it says until it is done or dead."""
        found = []
        while (line := self.answer()) not in ("done", ""):
            found.append(line)
        return found

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    with ExitStack() as stack:

        def make(*arguments: object) -> Worker:
            worker = Worker(*arguments)
            stack.callback(worker.end)
            return worker

        yield make


async def test_n_of_four_processes_pass_and_a_killed_one_loses_nothing(
    redis: Redis, start: Callable[..., Worker]
) -> None:
    """What the killed one had open keeps its estimate; its places in flight come back."""
    workers = [start(redis.url, "kills", 1.0, N, 4 * AT_ONCE, 10**9) for _ in range(4)]
    for worker in workers:
        worker.tell(f"hammer {AT_ONCE}")
    killed = workers[0]
    said = [killed.answer() for _ in range(200)]
    killed.process.send_signal(signal.SIGKILL)
    said += killed.rest()
    survivors = [line for worker in workers[1:] for line in worker.rest()]
    told_of = said.count("+") + survivors.count("+")
    # It may have died with decisions that it could not tell of.
    assert N - AT_ONCE <= told_of <= N
    assert survivors.count("+") == survivors.count("-")
    subject = Subject(KEY, "key", "k", Rates(requests=N, parallel=4 * AT_ONCE, day=10**9))
    async with store_on(redis, prefix="kills", lease=1.0) as store:
        assert await used(store, subject, "requests_per_minute") == N
        spent = await used(store, subject, "budget_day")
        unsettled, rest = divmod(spent - N * TRUTH, ESTIMATE - TRUTH)
        assert rest == 0
        assert 0 <= unsettled <= 2 * AT_ONCE

        async def places_are_back() -> bool:
            return await used(store, subject, "max_parallel") == 0

        await until(places_are_back)


async def test_a_stopped_process_whose_lease_ended_frees_only_its_own(
    redis: Redis, start: Callable[..., Worker]
) -> None:
    stopped, other = (start(redis.url, "stops", 0.5, 0, 1, 10**9) for _ in range(2))
    said, first = stopped.ask("take 1 100").split()
    assert said == "taken"
    assert other.ask("take 1 100") == "refused max_parallel"
    stopped.process.send_signal(signal.SIGSTOP)

    async def taken() -> str | None:
        said, name = other.ask("take 1 100").split()
        return name if said == "taken" else None

    second = await until(taken)
    stopped.process.send_signal(signal.SIGCONT)
    assert stopped.ask(f"settle {first} 1 40") == "settled"
    # The place that the other one holds is not freed with it.
    assert stopped.ask("take 1 100") == "refused max_parallel"
    assert other.ask(f"settle {second} 1 30") == "settled"
    assert stopped.ask("take 1 100").startswith("taken")
    subject = Subject(KEY, "key", "k", Rates(parallel=1, day=10**9))
    async with store_on(redis, prefix="stops", lease=0.5) as store:
        assert await used(store, subject, "max_parallel") == 1
        assert await used(store, subject, "budget_day") == 40 + 30 + 100
