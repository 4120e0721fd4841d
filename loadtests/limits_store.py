"""What a limit decision costs: CPU of the gateway and of Redis, in process, over our client, over redis-py.

    python -m loadtests.limits_store [--calls 20000] [--parallel 64] [--json FILE]

Each call reserves and settles under a key with limits on requests, tokens and parallel requests a minute and
a budget a day. CPU seconds of processes are measured, not the clock, so that a busy machine tells the same;
in-process is the unit of the ratios. Ends what it starts.
"""

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hiredis
import redis.asyncio

from slipway.gateway.limits import InProcessLimits, LimitStore, Rates, Subject
from slipway.gateway.limits.commands import Commands
from slipway.gateway.limits.connection import RedisConnection
from slipway.gateway.limits.places import place_of
from slipway.gateway.limits.shared import SharedLimits, shared_store

MICRO = 1e6
MOST = 1_000_000_000
RATES = Rates(requests=MOST, tokens=MOST, parallel=100_000, day=1000 * MOST)
ONE = (Subject("key/k", "key", "k", RATES),)
THREE = (
    *ONE,
    Subject("model/m@k", "model", "k", Rates(requests=MOST, tokens=MOST), "m"),
    Subject("owner/o", "owner", "o", Rates(day=1000 * MOST, week=1000 * MOST, month=1000 * MOST)),
)


@contextmanager
def redis_server() -> Iterator[tuple[str, int]]:
    """A Redis on a free port; its URL and process id."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is not installed (make test-packages).")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="slipway-limits-") as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            until_it_answers(port)
            yield f"redis://127.0.0.1:{port}/0", process.pid
        finally:
            process.kill()
            process.wait()


def until_it_answers(port: int) -> None:
    """Return when something listens there."""
    while True:
        with socket.socket() as asking:
            if asking.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)


def cpu_of(process: int) -> float:
    """CPU seconds a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def calls_on(store: LimitStore, subjects: tuple[Subject, ...], calls: int, parallel: int) -> None:
    """Reserve and settle `calls` times, `parallel` at once."""

    async def one_after_another(count: int) -> None:
        for _ in range(count):
            decision = await store.reserve(subjects, 100, 1000)
            assert decision.reservation is not None
            store.settle(decision.reservation, 80, 800)

    await asyncio.gather(*(one_after_another(calls // parallel) for _ in range(parallel)))


async def in_process(subjects: tuple[Subject, ...], calls: int) -> dict[str, float]:
    """CPU of the store in this process."""
    store = InProcessLimits(time.monotonic, time.time)
    await calls_on(store, subjects, 1000, 1)
    before = time.process_time()
    await calls_on(store, subjects, calls, 1)
    return {"gateway": (time.process_time() - before) / calls * MICRO, "redis": 0.0}


async def with_redis(work: Callable[[int], Awaitable[None]], calls: int, server: int) -> dict[str, float]:
    """CPU here and in Redis of a call's share of `work`."""
    await work(2000)
    there, here = cpu_of(server), time.process_time()
    await work(calls)
    here = time.process_time() - here
    return {"gateway": here / calls * MICRO, "redis": (cpu_of(server) - there) / calls * MICRO}


@contextmanager
def shared_on(url: str) -> Iterator[SharedLimits]:
    """The store on a Redis."""
    connection = RedisConnection(place_of(url), timeout=10, on_change=lambda up, problem: None)
    local = InProcessLimits(time.monotonic, time.time)
    store = shared_store(connection, local, fail_open=False, wall=time.time, fell_back=lambda how: None)
    task = asyncio.get_running_loop().create_task(store.run())
    try:
        yield store
    finally:
        task.cancel()


def arguments(packed: bytes) -> list[str]:
    """A command's words after its name."""
    reader = hiredis.Reader(encoding="utf-8")
    reader.feed(packed)
    words: list[str] = reader.gets()
    return words[1:]


class OverRedisPy:
    """The same scripts with the same arguments, each call of them one of redis-py's."""

    def __init__(self, url: str, commands: Commands, subjects: tuple[Subject, ...], most: int) -> None:
        self._client = redis.asyncio.Redis.from_url(url, max_connections=most)
        self._reserve = arguments(commands.reserve("NAME", subjects, 100, 1000))
        self._settle = arguments(commands.settle("NAME", "settle", subjects, 0, more=(0, -20, -200)))
        self._at = 3 + 2 * len(subjects)
        self._count = 0

    async def calls(self, calls: int, parallel: int) -> None:
        """Reserve and settle `calls` times, `parallel` at once."""
        await asyncio.gather(*(self._some(calls // parallel) for _ in range(parallel)))

    async def close(self) -> None:
        """End its connections."""
        await self._client.aclose()

    async def _some(self, count: int) -> None:
        reserve, settle = [*self._reserve], [*self._settle]
        for _ in range(count):
            self._count += 1
            reserve[self._at] = settle[self._at] = f"py{self._count}"
            reply = await self._client.evalsha(*reserve)  # type: ignore[arg-type]
            assert reply[0] == 1
            await self._client.evalsha(*settle)  # type: ignore[arg-type]


async def measure(calls: int, parallel: int) -> dict[str, dict[str, float]]:
    """By row: µs of CPU a call in the gateway and in Redis."""
    rows: dict[str, dict[str, float]] = {}
    for name, subjects in (("one subject", ONE), ("three subjects", THREE)):
        rows[f"in process, {name}"] = await in_process(subjects, calls * 5)
        for at_once in (1, parallel):
            how = f"{name}, {at_once} at once"
            with redis_server() as (url, server), shared_on(url) as store:
                await store.known()

                async def ours(
                    count: int, store: SharedLimits = store, of: Any = (subjects, at_once)
                ) -> None:
                    await calls_on(store, of[0], count, of[1])
                    await store.levels(of[0])  # Comes after every settlement.

                rows[f"our client, {how}"] = await with_redis(ours, calls, server)
                theirs = OverRedisPy(url, store.commands, subjects, 4 * parallel)

                async def over_redis_py(
                    count: int, theirs: OverRedisPy = theirs, at_once: int = at_once
                ) -> None:
                    await theirs.calls(count, at_once)

                rows[f"redis-py, {how}"] = await with_redis(over_redis_py, calls // 4, server)
                await theirs.close()
    return rows


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--calls", type=int, default=20_000, help="calls of each row")
    parser.add_argument("--parallel", type=int, default=64, help="calls at once in the rows with many")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    import uvloop

    rows = uvloop.run(measure(options.calls, options.parallel))
    unit = rows["in process, one subject"]["gateway"]
    print(f"{'reserve and settle':40} {'gateway µs':>10} {'ratio':>6} {'Redis µs':>9}")
    for name, row in rows.items():
        print(f"{name:40} {row['gateway']:10.1f} {row['gateway'] / unit:6.1f} {row['redis']:9.1f}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
