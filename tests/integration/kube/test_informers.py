"""An informer's copy follows the server's objects through cuts, outages, forgotten versions and old lists."""

import asyncio
from collections.abc import AsyncIterator, Callable, Set
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integration.kube.apiserver import APIServer
from integration.kube.conftest import QUICK
from slipway.kube import Client, Informer, Obj
from slipway.kube.backoffs import Backoff
from slipway.kube.errors import BadAnswerError, GoneError, KubeError, UnreachableError
from slipway.kube.kinds import CONFIG_MAP, SECRET


class Follower:
    """An informer that runs, and what its callbacks have told."""

    def __init__(self, client: Client, **options: Any) -> None:
        self.told: dict[tuple[str, str], Obj] = {}
        self.changes: list[tuple[str | None, str | None]] = []
        self.faults: list[KubeError] = []
        self.informer = Informer(
            client,
            CONFIG_MAP,
            on_change=self._changed,
            on_fault=self.faults.append,
            backoff=Backoff(0.001, 0.01),
            page=2,
            **options,
        )

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        item = new if new is not None else old
        assert item is not None
        key = item["metadata"]["namespace"], item["metadata"]["name"]
        assert (old is None) == (key not in self.told), (
            "a new object is told as new, a known one with its last"
        )
        self.changes.append((_value(old), _value(new)))
        if new is None:
            del self.told[key]
        else:
            self.told[key] = new

    def stale(self) -> bool:
        return self.informer.stale_since is not None

    @property
    def values(self) -> dict[str, str | None]:
        return {name: _value(item) for (_, name), item in self.informer.items.items()}


def _value(item: Obj | None) -> str | None:
    return None if item is None else str(item["data"]["v"])


@asynccontextmanager
async def following(client: Client, **options: Any) -> AsyncIterator[Follower]:
    follower = Follower(client, **options)
    task = asyncio.create_task(follower.informer.run())
    try:
        yield follower
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - any state can be awaited so
            await asyncio.sleep(0.002)


def put(server: APIServer, name: str, value: object) -> None:
    server.put(CONFIG_MAP, "n", name, data={"v": str(value)})


async def test_changes_are_told_with_what_was_before(server: APIServer, client: Client) -> None:
    put(server, "a", 1)
    async with following(client) as follower:
        await follower.informer.synced()
        put(server, "a", 2)
        put(server, "b", 1)
        server.remove(CONFIG_MAP, "n", "a")
        await until(lambda: len(follower.changes) == 4)
        assert follower.changes == [(None, "1"), ("1", "2"), (None, "1"), ("2", None)]
        assert "managedFields" not in follower.informer.items["n", "b"]["metadata"]


async def test_a_dropped_watch_goes_on_where_it_was(server: APIServer, client: Client) -> None:
    async with following(client) as follower:
        await until(lambda: server.watching == 1)
        put(server, "a", 1)
        await until(lambda: follower.values == {"a": "1"})
        lists = len(_lists(server))
        await server.cut(b'{"type":"MODIFIED","object":{"metadata":{"na')
        put(server, "a", 2)
        await until(lambda: follower.values == {"a": "2"})
        assert len(_lists(server)) == lists
        assert isinstance(follower.faults[0], UnreachableError)


async def test_a_watch_that_ends_within_a_line_does_not_take_the_half(
    server: APIServer, client: Client
) -> None:
    async with following(client) as follower:
        await until(lambda: server.watching == 1)
        await server.end(
            b'{"type":"ADDED","object":{"metadata":{"name":"x","namespace":"n"},"data":{"v":"9"}}}'
        )
        put(server, "a", 1)
        await until(lambda: follower.values == {"a": "1"})
        assert "within a line" in str(follower.faults[0])


async def test_bookmarks_spare_a_relist_when_old_versions_are_forgotten(
    server: APIServer, client: Client
) -> None:
    async with following(client) as follower:
        await until(lambda: server.watching == 1)
        before = len(_lists(server))
        server.bookmark(CONFIG_MAP)
        server.compact()
        put(server, "a", 1)  # Told after the bookmark, so that has been read once this has.
        await until(lambda: follower.values == {"a": "1"})
        await server.cut()
        await until(lambda: server.watching == 1)
        assert len(_lists(server)) == before


async def test_what_was_deleted_while_the_server_was_away_is_found_by_the_relist(
    server: APIServer, client: Client
) -> None:
    for name in "abc":
        put(server, name, 1)
    async with following(client) as follower:
        await until(lambda: server.watching == 1)
        assert not follower.stale()
        await server.stop()
        await until(lambda: len(follower.faults) > 2)
        assert follower.values == {"a": "1", "b": "1", "c": "1"}, "the last known state stays"
        assert follower.stale()
        server.remove(CONFIG_MAP, "n", "a")
        server.remove(CONFIG_MAP, "n", "b")
        put(server, "b", 2)  # Another object of the same name.
        server.compact()
        await server.start()
        await until(lambda: follower.values == {"b": "2", "c": "1"})
        assert follower.changes[3:] == [("1", None), ("1", None), (None, "2")]
        await until(lambda: not follower.stale())
        assert any(isinstance(fault, GoneError) for fault in follower.faults)


async def test_each_list_is_told_whole_with_its_version(server: APIServer, client: Client) -> None:
    put(server, "a", 1)
    listed: list[tuple[set[str], str]] = []

    def told(keys: Set[tuple[str, str]], version: str) -> None:
        listed.append(({name for _, name in keys}, version))

    informer = Informer(client, CONFIG_MAP, "n", on_listed=told)
    task = asyncio.create_task(informer.run())
    await informer.synced()
    assert [names for names, _ in listed] == [{"a"}]
    assert int(listed[0][1]) >= int(informer.items["n", "a"]["metadata"]["resourceVersion"])
    task.cancel()


async def test_a_list_older_than_what_is_known_is_asked_for_again(server: APIServer, client: Client) -> None:
    put(server, "a", 1)
    async with following(client) as follower:
        await until(lambda: server.watching == 1)
        put(server, "a", 2)
        put(server, "a", 3)
        await until(lambda: follower.values == {"a": "3"})
        server.stale = 2
        server.compact()
        put(server, "b", 1)
        await server.cut()
        server.compact()
        await until(lambda: follower.values == {"a": "3", "b": "1"})
        assert follower.changes == [(None, "1"), ("1", "2"), ("2", "3"), (None, "1")]


async def test_nonsense_in_a_watch_is_left_behind(server: APIServer, client: Client) -> None:
    server.garbage += [
        b"no json",
        b'{"type":"ADDED","object":7}',
        b'{"type":"ADDED","object":{"metadata":[]}}',
    ]
    async with following(client) as follower:
        await until(lambda: server.watching == 1)
        put(server, "a", 1)
        await until(lambda: follower.values == {"a": "1"})
        assert len([fault for fault in follower.faults if isinstance(fault, BadAnswerError)]) == 3


async def test_a_kind_that_is_not_served_is_waited_for(server: APIServer, client: Client) -> None:
    faults: list[KubeError] = []
    informer = Informer(client, SECRET, on_fault=faults.append, backoff=Backoff(0.001, 0.01))
    task = asyncio.create_task(informer.run())
    await until(lambda: len(faults) > 3)
    assert not informer.has_synced
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


names = st.sampled_from("abcd")
steps = st.one_of(
    st.tuples(st.just("put"), names),
    st.tuples(st.just("remove"), names),
    st.tuples(st.just("miss"), names),
    st.tuples(st.just("refuse"), st.sampled_from([0, 410, 429, 500, 503])),
    st.tuples(
        st.sampled_from(["cut", "half", "end", "compact", "bookmark", "stale", "down", "up"]), st.none()
    ),
    st.tuples(st.just("pause"), st.integers(1, 8)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=30))
def test_whatever_fails_the_copy_becomes_what_the_server_has(script: list[tuple[str, Any]]) -> None:
    asyncio.run(_run(script))


async def _run(script: list[tuple[str, Any]]) -> None:
    server = APIServer()
    await server.start()
    async with Client(server.connection, limits=QUICK) as client, following(client) as follower:
        for number, (step, what) in enumerate(script):
            await _take(server, step, what, number)
        await _take(server, "up", None, 0)
        server.refusals.clear()
        put(server, "last", 0)
        wanted = {name: _value(item) for (_, name), item in server.items(CONFIG_MAP).items()}
        await until(lambda: follower.values == wanted)
        assert follower.told == dict(follower.informer.items)
    await server.stop()


async def _take(server: APIServer, step: str, what: Any, number: int) -> None:
    match step:
        case "put":
            put(server, what, number)
        case "remove":
            server.remove(CONFIG_MAP, "n", what)
        case "miss":
            await server.stop()
            server.remove(CONFIG_MAP, "n", what)
            server.compact()
            await server.start()
        case "refuse":
            server.refusals.append((what, {"retry-after": "0"} if what == 429 else {}, {"code": what}))
        case "cut":
            await server.cut()
        case "half":
            await server.cut(b'{"type":"DELETED","object":{"metadata":{"name":"a","namespace":"n"')
        case "end":
            await server.end()
        case "compact":
            server.compact()
        case "bookmark":
            server.bookmark(CONFIG_MAP)
        case "stale":
            server.stale += 1
        case "down":
            await server.stop()
        case "up":
            if not server.running:
                await server.start()
        case "pause":
            for _ in range(what):
                await asyncio.sleep(0.002)


def _lists(server: APIServer) -> list[dict[str, str]]:
    return [params for _, _, params in server.requests if "watch" not in params]
