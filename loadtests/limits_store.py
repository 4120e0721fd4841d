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

import redis.asyncio

from slipway.gateway.limits import InProcessLimits, LimitStore, Rates, Subject
from slipway.gateway.limits.connection import RedisConnection
from slipway.gateway.limits.shared import SharedLimits

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
            yield f"redis://127.0.0.1:{port}/0", process.pid
        finally:
            process.kill()
            process.wait()


def cpu_of(process: int) -> float:
    """CPU seconds a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def calls_on(store: LimitStore, subjects: tuple[Subject, ...], calls: int, parallel: int) -> None:
    """Reserve and settle `calls` times, `parallel` at once."""

    async def one_after_another(count: int) -> None:
        for _ in range(count):
            decision = await store.reserve(subjects, 100, 1000)
            assert decision.reservation is not None  # noqa: S101 - the limits are out of reach
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
def shared_on(url: str) -> Iterator[tuple[SharedLimits, asyncio.Event]]:
    """The store on a Redis, with an event that says when it is connected."""
    up = asyncio.Event()
    connection = RedisConnection(url, timeout=10, on_change=lambda _: up.set())
    local = InProcessLimits(time.monotonic, time.time)
    store = SharedLimits(connection, local, False, time.time, lambda _: None)
    task = asyncio.get_running_loop().create_task(store.run())
    try:
        yield store, up
    finally:
        task.cancel()


class OverRedisPy(RedisConnection):
    """The same commands, each sent by redis-py."""

    def __init__(self, url: str, most: int) -> None:
        super().__init__(url, timeout=10, on_change=lambda _: None)
        self._client = redis.asyncio.Redis.from_url(url, max_connections=most)
        self._sent: set[asyncio.Task[Any]] = set()
        self.up = True

    def execute(self, *command: str | bytes | int) -> "asyncio.Future[Any]":
        task = asyncio.ensure_future(self._client.execute_command(*command))
        self._sent.add(task)
        task.add_done_callback(self._sent.discard)
        return task

    async def rest(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._sent)

    async def close(self) -> None:
        """End its connections."""
        await self._client.aclose()


async def measure(calls: int, parallel: int) -> dict[str, dict[str, float]]:
    """By row: µs of CPU a call in the gateway and in Redis."""
    rows: dict[str, dict[str, float]] = {}
    for name, subjects in (("one subject", ONE), ("three subjects", THREE)):
        rows[f"in process, {name}"] = await in_process(subjects, calls * 5)
        for at_once in (1, parallel):
            how = f"{name}, {at_once} at once"
            with redis_server() as (url, server), shared_on(url) as (store, up):
                await up.wait()

                async def ours(
                    count: int, store: SharedLimits = store, of: Any = (subjects, at_once)
                ) -> None:
                    await calls_on(store, of[0], count, of[1])
                    await store.levels(of[0])  # Comes after every settlement.

                rows[f"our client, {how}"] = await with_redis(ours, calls, server)
                other = OverRedisPy(url, 4 * parallel)
                await store._prepare(other)
                theirs = SharedLimits(other, store.local, False, time.time, lambda _: None)
                theirs._reserve_sha, theirs._settle_sha = store._reserve_sha, store._settle_sha

                async def over_redis_py(count: int, of: Any = (theirs, other, subjects, at_once)) -> None:
                    await calls_on(of[0], of[2], count, of[3])
                    await of[1].rest()

                rows[f"redis-py, {how}"] = await with_redis(over_redis_py, calls // 4, server)
                await other.close()
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
