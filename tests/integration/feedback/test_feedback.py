"""What people say about answers: of their own requests only, once a key, kept with the request's id."""

import json
from dataclasses import replace
from typing import Any

import pytest

from integration.gateway.clients import Reply, call
from integration.gateway.conftest import Start, StartUpstream
from integration.gateway.conftest import start as start  # A fixture.
from integration.usage.conftest import Place, StartPlace, ask
from slipway.gateway.feedback.store import Answered, Said, keep

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


async def test_consent_says_whether_it_may_be_learned_from(
    place: StartPlace, start_upstream: StartUpstream
) -> None:
    there = await opened(place, start_upstream)
    port = there.start().port()
    ids = [await asked(port) for _ in range(4)]

    silent = await say(port, ids[0], comment="x")
    with_words = await say(port, ids[1], messages=CONVERSATION)
    agreed = await say(port, ids[2], "down", expected="hello", consent=True)
    refused = await say(port, ids[3], consent=False, messages=CONVERSATION)

    assert [each.json["consent"] for each in (silent, with_words, agreed)] == [False, True, True]
    assert refused.status == 400
    exported = await call(port, "/v1/feedback/export", key="sk-boss")
    assert exported.headers["content-type"].startswith("application/jsonl")
    lines = [json.loads(line) for line in exported.body.splitlines()]
    assert [line["request_id"] for line in lines] == ids[1:3]
    assert lines[0]["messages"] == CONVERSATION
    assert (lines[1]["expected"], lines[1]["revision"]) == ("hello", "r1")
    down = await call(port, "/v1/feedback/export?rating=down", key="sk-boss")
    assert len(down.body.splitlines()) == 1
    later = await call(port, f"/v1/feedback/export?since={lines[1]['created_at'] + 1}", key="sk-boss")
    assert (later.status, later.body) == (200, b"")
    assert (await call(port, "/v1/feedback/export")).status == 403


async def test_an_export_has_every_line_once_whatever_its_length(start: Start) -> None:
    running = await start()
    running.state.key("boss", "sk-boss", role="admin")
    await running.until(lambda: running.gateway.database.migrated)
    await running.until(lambda: running.gateway.catalog.snapshot.keyring.named("boss") is not None)
    said = Said("", "up", None, None, None, consent=True)

    def write(connection: Any) -> None:
        for number in range(1203):
            keep(
                connection,
                replace(said, request_id=f"r{number}"),
                key="k",
                owner="o",
                by=Answered("m", ""),
                now_us=number // 7,  # Many at one time.
            )

    await running.gateway.database.run(write)
    body = (await running.call("/v1/feedback/export", key="sk-boss")).body
    ids = [json.loads(line)["request_id"] for line in body.splitlines()]
    assert sorted(ids) == sorted(f"r{number}" for number in range(1203))


async def test_ratings_are_counted_by_model(place: StartPlace, start_upstream: StartUpstream) -> None:
    there = await opened(place, start_upstream)
    port = there.start().port()
    for rating in ("up", "down", "down"):
        await say(port, await asked(port), rating)
    text = (await call(port, "/metrics", key=None)).body.decode()
    assert 'slipway_feedback_total{model="m",rating="up"} 1.0' in text
    assert 'slipway_feedback_total{model="m",rating="down"} 2.0' in text
