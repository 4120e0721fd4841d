"""A soak: `python -m soak.run --minutes 10`. Traffic through several gateways while parts of the world fail.

In the end every request has one honest outcome, every answer that an engine finished has exactly one usage
record, no window lets more than the limit through, and no gateway has grown.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from sqlalchemy import select

from integration.gateway.clients import call
from integration.redis_server import Redis
from integration.servers import Postgres
from slipway.gateway.storage.database import open_engine
from slipway.gateway.usage.tables import usage_records
from soak.clients import PATIENCE, Tally, client
from soak.world import LIMIT, Fault, Stoppable, World

GROWTH = 1.15
"""How much more memory a gateway may hold at the end than after a third of the time."""
CUTS = ("gateway killed", "engine killed", "engine cut")
"""Faults that leave an answer without an end, until what was killed is back."""
ROOM = 12 * 1024 * 1024
"""Bytes that it may grow in any case: caches that fill once."""


@dataclass
class Report:
    """What came of a soak."""

    counts: dict[str, int]
    faults: list[str]
    problems: list[str]
    records: int
    finished: int
    memory: list[tuple[int, int]] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{count:8d}  {name}" for name, count in self.counts.items()]
        lines.append(f"{len(self.faults):8d}  faults: {dict(Counter(self.faults))}")
        lines.append(f"{self.finished:8d}  finished by engines, {self.records} usage records")
        lines += [f"          memory {a >> 20} -> {b >> 20} MiB" for a, b in self.memory]
        lines += [f"PROBLEM   {problem}" for problem in self.problems] or ["          no problems"]
        return "\n".join(lines)


async def soak(
    world: World,
    seconds: float,
    *,
    clients: int,
    pause: float,
    seed: int,
    rows: Callable[[], list[tuple[str, int]]],
    stoppable: Mapping[str, Stoppable],
    say: Callable[[str], None] = lambda line: None,
) -> Report:
    """Run for `seconds`. `rows` reads (request id, status) of all usage records."""
    random, tally, stop = Random(seed), Tally(), asyncio.Event()
    began = time.monotonic()
    tasks = [
        asyncio.create_task(client(n, world.gateways, Random(seed + n), tally, stop, pause))
        for n in range(clients)
    ]
    names: list[str] = []
    cuts: list[tuple[float, float]] = []
    marked: list[int] = []
    while (passed := time.monotonic() - began) < seconds:
        await asyncio.sleep(min(1.0 + random.random() * 2, max(0.0, seconds - passed)))
        fault = random.choice(world.faults(random, stoppable))
        names.append(fault.name)
        say(f"{passed:6.0f} of {seconds:.0f} s, {len(tally.outcomes)} requests; {fault.name}")
        started = time.monotonic()
        await _commit(fault)
        if fault.name in CUTS:
            cuts.append((started, time.monotonic() + 2))
        if not marked and passed > seconds / 3:
            marked = [gateway.resident() for gateway in world.gateways]
            fresh = [gateway.process for gateway in world.gateways]
    await asyncio.sleep(1)
    stop.set()
    await asyncio.gather(*tasks)
    memory = [
        (before, gateway.resident())
        for before, gateway, process in zip(marked, world.gateways, fresh, strict=True)
        if gateway.process is process
    ]
    records = await _settled(world, rows)
    problems = _problems(world, tally, records, memory, cuts, names.count("redis stopped"))
    return Report(tally.count(), names, problems, len(records), len(world.finished()), memory)


async def _commit(fault: Fault) -> None:
    await asyncio.to_thread(fault.begin)
    try:
        await asyncio.sleep(fault.seconds)
    finally:
        await asyncio.to_thread(fault.end)


async def _settled(world: World, rows: Callable[[], list[tuple[str, int]]]) -> list[tuple[str, int]]:
    """The usage records, once every journal is in the database."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        waiting = 0.0
        for gateway in world.gateways:
            text = (await call(gateway.port, "/metrics", key=None)).body.decode()
            waiting += sum(
                float(line.rpartition(" ")[2])
                for line in text.splitlines()
                if line.startswith(("slipway_usage_journal_records", "slipway_requests_in_flight"))
            )
        folders = [each for each in (world.state.folder / "usage").iterdir() if each.is_dir()]
        if not waiting and len(folders) <= len(world.gateways):
            break
        await asyncio.sleep(0.5)
    return await asyncio.to_thread(rows)


def _problems(
    world: World,
    tally: Tally,
    records: list[tuple[str, int]],
    memory: list[tuple[int, int]],
    cuts: list[tuple[float, float]],
    away: int,
) -> list[str]:
    problems = [f"{each.request_id}: {each.why}" for each in tally.outcomes if each.kind == "wrong"][:20]
    for each in tally.outcomes:
        if each.kind == "cut" and not any(a < each.began + PATIENCE and each.began < b for a, b in cuts):
            problems.append(f"{each.request_id}: cut off although nothing was killed")
    seen = Counter(request_id for request_id, _ in records)
    twice = [request_id for request_id, count in seen.items() if count > 1]
    if twice:
        problems.append(f"{len(twice)} requests have more than one usage record, such as {twice[0]}")
    missing = [request_id for request_id in set(world.finished()) if request_id not in seen]
    if missing:
        problems.append(f"{len(missing)} finished requests have no usage record, such as {missing[0]}")
    unrecorded = [each for each in tally.outcomes if each.kind == "complete" and each.request_id not in seen]
    if unrecorded:
        problems.append(f"{len(unrecorded)} answered requests have no usage record")
    most, bound = _most_in_a_minute(tally), LIMIT * (1 + away * len(world.gateways))
    if most > bound:
        problems.append(f"{most} requests of a key that may make {LIMIT} a minute were let through in one")
    for before, after in memory:
        if after > before * GROWTH + ROOM:
            problems.append(f"a gateway grew from {before >> 20} to {after >> 20} MiB")
    return problems


def _most_in_a_minute(tally: Tally) -> int:
    """Most requests with a limit that were let through in 60 seconds, by the time they were sent."""
    let = sorted(
        each.began
        for each in tally.outcomes
        if each.token == "sk-limited" and each.kind in ("complete", "told")
    )
    most, first = 0, 0
    for last, at in enumerate(let):
        while at - let[first] >= 59:
            first += 1
        most = max(most, last - first + 1)
    return most


def rows_of(url: str) -> Callable[[], list[tuple[str, int]]]:
    """Reads the usage records in a database."""

    def rows() -> list[tuple[str, int]]:
        engine = open_engine(url, 30)
        try:
            with engine.connect() as connection:
                query = select(usage_records.c.request_id, usage_records.c.status)
                return [(row.request_id, row.status) for row in connection.execute(query)]
        finally:
            engine.dispose()

    return rows


async def whole_soak(folder: Path, seconds: float, *, gateways: int, clients: int, seed: int) -> Report:
    """A soak with a Redis and a PostgreSQL of its own, both stopped now and then."""
    redis, postgres = Redis(), Postgres()
    world: World | None = None
    try:
        redis.start()
        postgres.start()
        database = postgres.new_database()
        world = World(folder, gateways=gateways, redis=redis.url, database=database)
        stoppable = {"redis": (redis.pause, redis.resume), "database": (postgres.pause, postgres.resume)}
        return await soak(
            world,
            seconds,
            clients=clients,
            pause=0.05,
            seed=seed,
            rows=rows_of(database),
            stoppable=stoppable,
            say=lambda line: print(line, flush=True),
        )
    finally:
        if world is not None:
            world.stop()
        redis.remove()
        postgres.remove()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--gateways", type=int, default=4)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(
            whole_soak(
                Path(folder),
                asked.minutes * 60,
                gateways=asked.gateways,
                clients=asked.clients,
                seed=asked.seed,
            )
        )
    print(report)
    return bool(report.problems)


if __name__ == "__main__":
    sys.exit(main())
