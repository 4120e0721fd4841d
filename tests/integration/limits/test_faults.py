"""A Redis that is stopped, slow, flushed, restarted, full or read-only."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from integration.awaiting import until
from integration.limits.properties import KEY
from integration.limits.stores import store_on, used
from integration.redis_server import Redis
from integration.waiting import free_port
from slipway.gateway.errors import APIError
from slipway.gateway.limits import Rates, Reservation, Subject
from slipway.gateway.limits.places import RedisURLError, place_of
from slipway.gateway.limits.shared import SharedLimits

ALL = Rates(requests=1000, tokens=100_000, parallel=100, tokens_day=10**6, day=10**9, week=10**9, month=10**9)
SUBJECT = Subject(KEY, "key", "k", ALL)


async def counts(store: SharedLimits, subject: Subject = SUBJECT) -> list[int]:
    """What is used of each limit, in the order of LIMITS."""
    return [level.used for level in await store.levels((subject,))]


async def taken(store: SharedLimits, tokens: int = 100, cost: int = 100) -> Reservation:
    reservation = (await store.reserve((SUBJECT,), tokens, cost)).reservation
    assert reservation is not None
    return reservation


async def become(store: SharedLimits, expected: list[int]) -> None:
    async def are() -> bool:
        return store.connection.up and await counts(store) == expected

    await until(are)


async def test_a_decision_that_was_not_waited_for_is_undone(redis: Redis) -> None:
    """Redis takes it after the gateway has given it up: in the end only what was used counts, once."""
    async with store_on(redis, timeout=0.1) as store:
        redis.pause()
        local = [await taken(store) for _ in range(3)]
        assert all(each.local for each in local)
        redis.resume()
        await until(lambda: store.connection.up)
        for each in local:
            store.settle(each, 7, 8)
        # The minute does not count what passed without Redis; day, week and month do.
        await become(store, [0, 0, 0, 21, 24, 24, 24])


async def test_nobody_waits_behind_one_that_waits_in_vain(redis: Redis) -> None:
    """All are decided at once when Redis proves to be away, not when its connection is given up at last."""
    async with store_on(redis, timeout=0.5) as store:
        link = store.connection._link
        redis.pause()
        first = asyncio.create_task(taken(store))
        await asyncio.sleep(0.3)
        second = await taken(store)
        assert (await first).local
        assert second.local
        assert store.connection._link is link


async def test_one_that_redis_takes_from_a_connection_given_up_is_undone_too(redis: Redis) -> None:
    async with store_on(redis, timeout=0.1) as store:
        redis.pause()
        given_up = store.connection._link
        store.settle(await taken(store), 7, 8)
        await until(lambda: store.connection._link not in (given_up, None))
        redis.resume()
        await become(store, [0, 0, 0, 7, 8, 8, 8])


async def test_an_id_is_taken_once_and_not_after_it_was_undone(redis: Redis) -> None:
    """However late a command arrives: from a connection that was given up, from a slow network."""
    async with store_on(redis) as store:
        write, ask = store.commands, store.connection.ask
        take = write.reserve("x", (SUBJECT,), 100, 100)
        undo = write.settle("x", "undo", (SUBJECT,), 0, more=(-1, -100, -100))
        assert [(await ask(take))[0] for _ in range(2)] == [1, 3]
        assert await counts(store) == [1, 100, 1, 100, 100, 100, 100]
        assert [await ask(undo) for _ in range(2)] == [1, 2]
        assert (await ask(take))[0] == 3
        assert await counts(store) == [0] * 7
        late = write.settle("y", "undo", (SUBJECT,), 0, more=(-1, -100, -100))
        assert [await ask(late) for _ in range(2)] == [2, 0]
        assert (await ask(write.reserve("y", (SUBJECT,), 100, 100)))[0] == 3
        assert await counts(store) == [0] * 7


async def test_a_request_that_is_cancelled_while_it_waits_takes_nothing(redis: Redis) -> None:
    async with store_on(redis, timeout=5) as store:
        await store.levels((SUBJECT,))
        redis.pause()
        waiting = asyncio.create_task(store.reserve((SUBJECT,), 100, 100))
        await asyncio.sleep(0)
        waiting.cancel()
        redis.resume()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await become(store, [0] * 7)


async def test_a_settlement_whose_reply_is_lost_counts_once(redis: Redis) -> None:
    async with store_on(redis, timeout=0.1) as store:
        first, second = await taken(store), await taken(store)
        redis.pause()
        store.settle(first, 7, 8)
        await until(lambda: not store.connection.up)
        store.settle(second, 9, 10)
        redis.resume()
        await become(store, [2, 16, 0, 16, 18, 18, 18])


@pytest.mark.parametrize("how", ["flushed", "restarted"])
async def test_requests_in_flight_when_redis_forgets_are_counted_in_full(redis: Redis, how: str) -> None:
    """Their places in flight too."""
    async with store_on(redis, timeout=0.5, lease=0.6) as store:
        ends, stays = await taken(store), await taken(store)
        if how == "flushed":
            redis.ask("FLUSHALL")
        else:
            redis.kill()
            await until(lambda: not store.connection.up)
            redis.start()
        await until(lambda: store.connection.up)
        store.settle(await taken(store, 10, 10), 1, 1)
        store.settle(ends, 7, 8)
        await become(store, [2, 8, 1, 8, 9, 9, 9])
        store.settle(stays, 5, 6)
        await become(store, [3, 13, 0, 13, 15, 15, 15])


async def test_what_is_recorded_counts_again_when_redis_has_forgotten(redis: Redis) -> None:
    recorded = {"day": (50, 500), "week": (60, 600), "month": (70, 700)}

    async def seed(subject: Subject, period: str, now: float) -> tuple[int, int]:
        return recorded[period]

    async with store_on(redis, seed=seed) as store:
        store.settle(await taken(store, 1, 1), 1, 1)
        assert (await counts(store))[3:] == [51, 501, 601, 701]
        redis.ask("FLUSHALL")
        assert (await counts(store))[3:] == [50, 500, 600, 700]


async def test_where_nothing_is_recorded_counters_begin_with_what_was_used_meanwhile(redis: Redis) -> None:
    async with store_on(redis, timeout=0.2) as store:
        before = await taken(store)
        redis.kill()
        await until(lambda: not store.connection.up)
        store.settle(await taken(store), 7, 8)
        redis.start()
        await become(store, [0, 0, 1, 7, 8, 8, 8])
        store.settle(before, 1, 2)
        await become(store, [1, 1, 0, 8, 10, 10, 10])


async def test_without_redis_budgets_begin_with_what_is_recorded(redis: Redis) -> None:
    """Each time that it is away, as other gateways have spent meanwhile."""
    spent = 95

    async def seed(subject: Subject, period: str, now: float) -> tuple[int, int]:
        return 0, spent

    subject = Subject(KEY, "key", "k", Rates(day=100))
    async with store_on(redis, seed=seed, timeout=0.2) as store:
        for expected in (95, 98):
            redis.kill()
            await until(lambda: not store.connection.up)
            spent = expected
            let = 0
            while (await store.reserve((subject,), 0, 1)).reservation is not None:
                let += 1
            assert let == 100 - expected
            redis.start()
            await until(lambda: store.connection.up)


@asynccontextmanager
async def slowed(redis: Redis, delay: float) -> AsyncIterator[str]:
    """The URL of a way to Redis that takes `delay` seconds in one direction."""
    tasks: list[asyncio.Task[None]] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pause: float) -> None:
        try:
            while data := await reader.read(65536):
                await asyncio.sleep(pause)
                writer.write(data)
        finally:
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection("127.0.0.1", redis.port)
        tasks.append(asyncio.create_task(pipe(reader, here, delay)))
        tasks.append(asyncio.create_task(pipe(there, writer, 0)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_redis_that_stays_too_slow_delays_nobody(redis: Redis) -> None:
    """It is away then, not away and back again with each answer."""
    told: list[bool] = []
    async with (
        slowed(redis, 0.25) as url,
        store_on(redis, url=url, timeout=0.1, told=lambda up, problem: told.append(up)) as store,
    ):
        assert store.connection.problem == "answers too slowly"
        loop = asyncio.get_running_loop()
        ends = loop.time() + 1.5
        while loop.time() < ends:
            reservation = await taken(store)
            assert reservation.local
            store.settle(reservation, 1, 1)
            await asyncio.sleep(0.01)
        assert told == [False]


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    ],
    ids=["read-only", "full"],
)
async def test_a_redis_that_refuses_is_away(
    redis: Redis, begin: tuple[str, ...], end: tuple[str, ...]
) -> None:
    problems: list[str] = []
    subject = Subject(KEY, "key", "k", Rates(requests=1000, day=10**9))
    async with store_on(redis, told=lambda up, problem: problems.append(problem)) as store:
        before = (await store.reserve((subject,), 100, 100)).reservation
        assert before is not None
        redis.ask(*begin)
        meanwhile = (await store.reserve((subject,), 100, 100)).reservation
        assert meanwhile is not None
        assert meanwhile.local
        store.settle(before, 7, 8)
        store.settle(meanwhile, 3, 4)
        assert problems[-1].startswith(("READONLY", "OOM"))
        redis.ask(*end)

        async def counted() -> bool:
            return store.connection.up and await counts(store, subject) == [1, 12]

        await until(counted)


async def test_a_gateway_that_starts_without_redis_says_so_and_joins_later(redis: Redis) -> None:
    redis.kill()
    told: list[bool] = []
    async with store_on(redis, fail_open=False, told=lambda up, problem: told.append(up)) as store:
        assert told == [False]
        with pytest.raises(APIError):
            await store.reserve((SUBJECT,), 1, 1)
        with pytest.raises(APIError):
            await store.levels((SUBJECT,))
        redis.start()
        await until(lambda: store.connection.up)
        assert told == [False, True]


async def test_settlements_are_sent_before_the_gateway_ends(redis: Redis) -> None:
    async with store_on(redis, prefix="ends") as store:
        for _ in range(50):
            store.settle(await taken(store), 1, 1)
    async with store_on(redis, prefix="ends") as store:
        assert await counts(store) == [50, 50, 0, 50, 50, 50, 50]


async def test_every_key_ends_by_itself(redis: Redis) -> None:
    async with store_on(redis, prefix="ttl", lease=30) as store:
        await taken(store)
        store.settle(await taken(store), 1, 1)
        only_minutes = Subject("key/m", "key", "m", Rates(requests=1, parallel=1))
        await store.reserve((only_minutes,), 1, 1)
        await store.levels((Subject("key/never", "key", "never", ALL),))
        ttl = {str(key): await store.connection.execute("TTL", key) for key in await _keys(store)}
        assert len(ttl) == 6
        assert all(0 < seconds <= 3_024_000 for seconds in ttl.values()), ttl


async def _keys(store: SharedLimits) -> list[bytes]:
    found: list[bytes] = await store.connection.execute("KEYS", "{ttl}:*")
    return found


async def test_password_and_database_are_used(redis: Redis) -> None:
    redis.ask("CONFIG", "SET", "requirepass", "s3cret")
    url = f"redis://:s3cret@127.0.0.1:{redis.port}/3"
    async with store_on(redis, url=url) as store:
        await taken(store)
        assert await store.connection.execute("DBSIZE") == 3
    problems: list[str] = []
    wrong = url.replace("s3cret", "guess")
    async with store_on(redis, url=wrong, told=lambda up, problem: problems.append(problem)):
        assert problems == ["WRONGPASS invalid username-password pair or user is disabled."]


def certify(key: Path, certificate: Path) -> None:
    """Write a certificate for 127.0.0.1 that nobody else has signed."""
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    make += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True, timeout=60)


async def test_tls_is_spoken_and_the_server_must_be_vouched_for(redis: Redis, tmp_path: Path) -> None:
    port, key, certificate = free_port(), tmp_path / "key.pem", tmp_path / "certificate.pem"
    await asyncio.to_thread(certify, key, certificate)
    for name, value in (
        ("tls-cert-file", certificate),
        ("tls-key-file", key),
        ("tls-auth-clients", "no"),
        ("tls-port", port),
    ):
        assert redis.ask("CONFIG", "SET", name, str(value)) == "+OK"
    url = f"rediss://127.0.0.1:{port}"
    async with store_on(redis, url=f"{url}?ssl_ca_certs={certificate}") as store:
        await taken(store)
    async with store_on(redis, url=f"{url}?ssl_cert_reqs=none") as store:
        await taken(store)
    problems: list[str] = []
    async with store_on(redis, url=url, told=lambda up, problem: problems.append(problem)):
        assert "CERTIFICATE_VERIFY_FAILED" in problems[0]


async def test_a_unix_socket_is_used(redis: Redis, tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    redis.kill()
    redis.start("--unixsocket", str(path))
    async with store_on(redis, url=f"unix://{path}") as store:
        await taken(store)
        assert await used(store, SUBJECT, "requests_per_minute") == 1


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://host", "schemes"),
        ("redis://host?socket_timeout=3", "not known: socket_timeout"),
        ("rediss://host?ssl_cert_reqs=maybe", "`required` or `none`"),
        ("rediss://host?ssl_ca_certs=/nowhere", "cannot be read"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_at_start(url: str, told: str) -> None:
    with pytest.raises(RedisURLError, match=told):
        place_of(url)
