"""A process with a store on a Redis, told by lines what to do: it can be killed and stopped.

    python -m integration.limits.worker URL PREFIX LEASE REQUESTS PARALLEL DAY

Lines: `take TOKENS COST` answers `taken ID` or `refused LIMIT`; `settle ID TOKENS COST`; `hammer N` takes and
settles (cost 10 reserved, 7 true) until it is refused, N at once, and answers `+` for each taken, `-` for
each settled, then `done`.
"""

import asyncio
import sys
import time

from slipway.gateway.limits import InProcessLimits, Rates, Reservation, Subject
from slipway.gateway.limits.connection import RedisConnection
from slipway.gateway.limits.places import place_of
from slipway.gateway.limits.shared import SharedLimits, shared_store

ESTIMATE, TRUTH = 10, 7


def say(line: str) -> None:
    print(line, flush=True)


async def hammer(store: SharedLimits, subject: Subject) -> None:
    while True:
        decision = await store.reserve((subject,), 1, ESTIMATE)
        if decision.reservation is None:
            if decision.refusal is not None and decision.refusal.limit == "max_parallel":
                continue
            return
        say("+")
        await asyncio.sleep(0)
        store.settle(decision.reservation, 1, TRUTH)
        say("-")


async def main(url: str, prefix: str, lease: str, *limits: str) -> None:
    requests, parallel, day = (int(each) or None for each in limits)
    subject = Subject("key/k", "key", "k", Rates(requests=requests, parallel=parallel, day=day))
    connection = RedisConnection(place_of(url), timeout=5, on_change=lambda up, problem: None)
    store = shared_store(
        connection,
        InProcessLimits(time.monotonic, time.time),
        fail_open=False,
        wall=time.time,
        fell_back=lambda how: None,
        lease=float(lease),
        prefix=prefix,
    )
    running = asyncio.create_task(store.run())
    await store.known()
    say("ready")
    held: dict[str, Reservation] = {}
    while line := await asyncio.to_thread(sys.stdin.readline):
        match line.split():
            case ["take", tokens, cost]:
                decision = await store.reserve((subject,), int(tokens), int(cost))
                if decision.reservation is not None:
                    held[decision.reservation.id] = decision.reservation
                    say(f"taken {decision.reservation.id}")
                elif decision.refusal is not None:
                    say(f"refused {decision.refusal.limit}")
            case ["settle", name, tokens, cost]:
                store.settle(held.pop(name), int(tokens), int(cost))
                await store.levels((subject,))  # Comes after it.
                say("settled")
            case ["hammer", count]:
                await asyncio.gather(*(hammer(store, subject) for _ in range(int(count))))
                say("done")
    running.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
