"""What people say about answers: of their own requests only, once a key, kept with the request's id."""

from typing import Any

import pytest

from integration.gateway.clients import Reply, call
from integration.gateway.conftest import Start, StartUpstream
from integration.gateway.conftest import start as start  # A fixture.
from integration.usage.conftest import Place, StartPlace, ask

CONVERSATION = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hey \N{GRINNING FACE}"}]


async def opened(place: StartPlace, start_upstream: StartUpstream, url: str | None = None) -> Place:
    there = place(await start_upstream(), url=url, key={"owner": "search"})
    there.state.key("mate", "sk-mate", owner="search")
    there.state.key("other", "sk-other", owner="ads")
    return there


async def say(port: int, request_id: str, rating: str = "up", *, key: str = "sk-test", **said: Any) -> Reply:
    body = {"request_id": request_id, "rating": rating, **said}
    return await call(port, "/v1/feedback", body, key=key)


async def rows(port: int, query: str = "", key: str = "sk-test") -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = (await call(port, f"/v1/feedback?{query}", key=key)).json["data"]
    return data


async def asked(port: int) -> str:
    """The id of a request that was answered."""
    return (await ask(port)).headers["x-request-id"]


async def check_a_life(there: Place) -> None:
    port = there.start().port()
    request_id = await asked(port)

    kept = await say(port, request_id, comment="fine", messages=CONVERSATION)

    assert kept.status == 200, kept
    told = {"request_id": request_id, "key": "local", "owner": "search", "model": "m", "rating": "up"}
    assert {name: kept.json[name] for name in told} == told
    assert kept.json["messages"] == CONVERSATION
    assert await rows(port) == [kept.json]
    changed = await say(port, request_id, "down", comment="wrong", expected="hello")
    assert changed.json["id"] == kept.json["id"]
    assert [(row["rating"], row["comment"], row["messages"]) for row in await rows(port)] == [
        ("down", "wrong", None)
    ]
    # A second key of the owner says something of its own.
    assert (await say(port, request_id, key="sk-mate")).status == 200
    assert {row["key"] for row in await rows(port)} == {"local", "mate"}


async def test_feedback_is_kept_replaced_and_read_back(
    place: StartPlace, start_upstream: StartUpstream
) -> None:
    await check_a_life(await opened(place, start_upstream))


async def test_the_same_in_postgresql(
    place: StartPlace, start_upstream: StartUpstream, own_postgres: Any
) -> None:
    await check_a_life(await opened(place, start_upstream, own_postgres.new_database()))


async def test_only_ones_own_requests_can_be_rated(place: StartPlace, start_upstream: StartUpstream) -> None:
    there = await opened(place, start_upstream)
    port = there.start().port()
    request_id = await asked(port)
    await there.recorded(1)

    for key in ("sk-other", "sk-boss"):
        refused = await say(port, request_id, key=key)
        assert (refused.status, refused.error["code"]) == (404, "request_not_found")
    assert (await say(port, "never-made")).error["code"] == "request_not_found"
    assert (await say(port, request_id, key="sk-wrong")).status == 401
    assert await rows(port, key="sk-boss") == []


async def test_a_member_sees_its_owners_feedback_and_an_admin_all(
    place: StartPlace, start_upstream: StartUpstream
) -> None:
    there = await opened(place, start_upstream)
    port = there.start().port()
    mine = [await asked(port) for _ in range(3)]
    theirs = (await call(port, "/v1/chat/completions", _chat(), key="sk-other")).headers["x-request-id"]
    for index, request_id in enumerate(mine):
        await say(port, request_id, "down" if index else "up")
    await say(port, theirs, key="sk-other")

    assert [row["request_id"] for row in await rows(port)] == mine[::-1]
    assert [row["request_id"] for row in await rows(port, "owner=ads")] == mine[::-1]  # Its own all the same.
    assert [row["request_id"] for row in await rows(port, key="sk-other")] == [theirs]
    assert len(await rows(port, key="sk-boss")) == 4
    assert [row["request_id"] for row in await rows(port, "owner=ads", key="sk-boss")] == [theirs]
    assert [row["request_id"] for row in await rows(port, "rating=up")] == mine[:1]

    first = (await call(port, "/v1/feedback?limit=2")).json
    assert (first["has_more"], first["last_id"]) == (True, first["data"][1]["id"])
    second = (await call(port, f"/v1/feedback?limit=2&after={first['last_id']}")).json
    assert (second["has_more"], [row["request_id"] for row in second["data"]]) == (False, mine[:1])
    assert (await call(port, "/v1/feedback?after=nothing")).status == 400


def _chat() -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


WRONG: list[dict[str, Any]] = [
    {"rating": "sideways"},
    {"request_id": "a b"},
    {"request_id": "x" * 65},
    {"comment": "x" * 2001},
    {"comment": "a\0b"},
    {"comment": 7},
    {"messages": []},
    {"messages": [{"role": "user", "content": "x", "more": 1}]},
    {"owner": "ads"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
async def test_what_cannot_be_kept_is_refused_by_its_field(start: Start, wrong: dict[str, Any]) -> None:
    running = await start()
    refused = await running.call("/v1/feedback", {"request_id": "r", "rating": "up", **wrong})
    assert refused.status == 400
    assert str(refused.error["param"]).startswith(next(iter(wrong)))


async def test_bodies_are_bounded_and_must_be_json(start: Start) -> None:
    running = await start()
    large = b'{"request_id": "r", "rating": "up", "comment": "' + b"x" * 1_100_000 + b'"}'
    assert (await running.call("/v1/feedback", large)).error["code"] == "request_too_large"
    assert (await running.call("/v1/feedback", b"{")).status == 400


async def test_without_usage_records_the_caller_is_believed(start: Start) -> None:
    running = await start()
    await running.until(lambda: running.gateway.database.migrated)
    kept = await running.call("/v1/feedback", {"request_id": "r", "rating": "down"})
    assert (kept.status, kept.json["model"]) == (200, None)
