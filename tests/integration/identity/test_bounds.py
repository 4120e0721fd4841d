"""What holds between changes: a key and its maker on two gateways, hostile input, refusals without end."""

import asyncio
from functools import partial
from typing import Any

import pytest

from integration.awaiting import until
from integration.gateway.clients import call, chat, request
from integration.gateway.clients import connect as connect_to
from integration.gateway.conftest import StartUpstream
from integration.gateway.processes import Process
from integration.identity.test_administration import ADMIN, MEMBER, make
from integration.usage.conftest import Place, StartPlace


async def serve(there: Place, **settings: Any) -> tuple[Process, int]:
    """A gateway that knows the database's keys when it listens."""
    process = there.start(usage=False, **settings)
    return process, await asyncio.to_thread(process.port)


@pytest.fixture(params=["sqlite", "postgresql"])
def there(request: pytest.FixtureRequest, place: StartPlace) -> Place:
    url = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    return place(url=url)


async def test_a_key_revoked_elsewhere_makes_no_key_any_more(there: Place) -> None:
    """Even where it still is in force: here the other gateway looks at the database once a second."""
    (_, one), (_, two) = await asyncio.gather(serve(there), serve(there))
    for number in range(5):
        leaked = (await make(one, f"leaked-{number}", MEMBER)).json["key"]
        await until(partial(works, two, leaked), "the new key on the other gateway")
        gone, made = await asyncio.gather(
            call(one, f"/v1/keys/leaked-{number}", key=ADMIN, method="DELETE"),
            make(two, f"child-{number}", leaked),
        )
        assert gone.status == 200
        assert (await make(two, f"late-{number}", leaked)).status == 401
        assert (await call(two, f"/v1/keys/leaked-{number}/rotate", {}, key=leaked)).status == 401
        if made.status == 201:  # It was first; then it goes with its maker.
            assert not await works(one, made.json["key"])
        else:
            assert made.status == 401
    names = {key["name"] for key in (await call(one, "/v1/keys", key=ADMIN)).json["data"]}
    assert names == {"local", "boss"}


async def works(port: int, key: str, model: str = "") -> bool:
    return (await call(port, f"/v1/models{model}", key=key)).status == 200


async def test_changes_of_many_gateways_at_once_are_all_made_once(there: Place) -> None:
    (_, one), (_, two) = await asyncio.gather(serve(there), serve(there))
    replies = await asyncio.gather(
        *(make(port, f"k-{number}", ADMIN) for number in range(6) for port in (one, two))
    )
    assert sorted(reply.status for reply in replies) == [201] * 6 + [409] * 6
    patches = [{"priority": "high"}, {"models": ["m"]}, {"disabled": True}, {"owner": "search"}]
    replies = await asyncio.gather(
        *(
            call(port, "/v1/keys/k-0", patch, key=ADMIN, method="PATCH")
            for patch, port in zip(patches, (one, two, one, two), strict=True)
        )
    )
    assert {reply.status for reply in replies} == {200}

    async def all_made() -> bool:
        key = (await call(one, "/v1/keys/k-0", key=ADMIN)).json
        shown = (key["priority"], key["models"], key["disabled"], key["owner"])
        return shown == ("high", ["m"], True, "search")

    await until(all_made, "all changes on one gateway")


async def test_a_key_follows_its_maker(there: Place) -> None:
    _, port = await serve(there)
    parent = (await make(port, "parent", MEMBER)).json["key"]
    made = (await make(port, "child", parent, models=["m*"])).json
    child = made["key"]
    assert (made["maker"], made["createdBy"]) == ("parent", "parent")

    async def change(**fields: Any) -> None:
        reply = await call(port, "/v1/keys/parent", fields, key=ADMIN, method="PATCH")
        assert reply.status == 200

    assert await works(port, child, "/m-sql")
    await change(models=["m"])
    assert await works(port, child, "/m")
    assert not await works(port, child, "/m-sql")
    await change(disabled=True)
    assert not await works(port, child)
    await change(disabled=False, models=["*"])
    assert await works(port, child, "/m-sql")
    there.state.remove("objects/apikey-local.yaml")  # It made the parent.
    await until(partial(refused, port, child), "the end of the key without a maker")
    assert not await works(port, parent)
    shown = (await call(port, "/v1/keys/child", key=ADMIN)).json
    assert shown["disabled"] is True


async def refused(port: int, key: str) -> bool:
    return (await call(port, "/v1/models", key=key)).status == 401


async def test_keys_that_a_key_made_share_its_limits(
    place: StartPlace, start_upstream: StartUpstream
) -> None:
    there = place(await start_upstream())
    there.state.key("few", "sk-few", limits={"requestsPerMinute": 4})
    _, port = await serve(there)
    keys = [(await make(port, f"few-{number}", "sk-few")).json["key"] for number in range(3)]
    replies = [await call(port, "/v1/chat/completions", chat(), key=keys[n % 3]) for n in range(6)]
    assert [reply.status for reply in replies] == [200] * 4 + [429] * 2


async def test_an_admin_may_give_a_key_more_than_its_maker_has(there: Place) -> None:
    there.state.key("narrow", "sk-narrow", models=["m"])
    _, port = await serve(there)
    child = (await make(port, "child", "sk-narrow")).json["key"]
    more = {"models": ["*"]}
    assert (await call(port, "/v1/keys/child", more, key="sk-narrow", method="PATCH")).status == 403
    reply = await call(port, "/v1/keys/child", more, key=ADMIN, method="PATCH")
    assert (reply.json["models"], reply.json["maker"]) == (["*"], None)
    assert await works(port, child, "/m-sql")


async def test_keys_are_made_three_deep(there: Place) -> None:
    _, port = await serve(there)
    key = MEMBER
    for depth in range(3):
        key = (await make(port, f"deep-{depth}", key)).json["key"]
    reply = await make(port, "deeper", key)
    assert (reply.status, reply.error["code"]) == (403, "permission_denied")


HOSTILE: list[tuple[str, str, Any]] = [
    ("GET", "/v1/keys/%00", None),
    ("DELETE", "/v1/keys/%00", None),
    ("GET", "/v1/keys/'%20OR%201=1%20--", None),
    ("PATCH", "/v1/keys/x", b"{"),
    ("PATCH", "/v1/keys/local", b"[" * 100_000),
    ("GET", "/v1/owners/%00", None),
    ("GET", "/v1/owners/a%2Fb", None),
    ("GET", "/v1/audit?actor=%00", None),
    ("GET", "/v1/audit?after=%00", None),
    ("GET", "/v1/keys?limit=0", None),
    ("POST", "/v1/keys", b'{"name": "x", "owner": "\\ud800"}'),
    ("POST", "/v1/keys", b"null"),
    ("POST", "/v1/keys", b'{"name": "x", "models": ' + b"[" * 2000 + b"]" * 2000 + b"}"),
    ("POST", "/v1/keys", b'{"name": "x", "fill": "' + b"x" * 300_000 + b'"}'),
    ("POST", "/v1/keys", {"name": "x", "owner": "a\0b"}),
    ("POST", "/v1/keys", {"name": "x\0"}),
    ("POST", "/v1/keys", {"name": "../x"}),
    ("POST", "/v1/keys", {"name": "oidc:ann"}),
    ("POST", "/v1/keys", {"name": ["x"]}),
    ("POST", "/v1/keys", {"name": "x", "expires_at": "2031-01-01T00:00:00Z"}),
    ("POST", "/v1/keys", {"name": "x", "limits": {"requests_per_minute": 5}}),
    ("POST", "/v1/keys", {"name": "x", "limits": {"requestsPerMinute": 0}}),
    ("POST", "/v1/keys", {"name": "x", "maker": None}),
    ("POST", "/v1/keys/local/rotate", {"graceSeconds": 1e99}),
    ("POST", "/v1/owners", {"name": "a\0b"}),
    ("POST", "/v1/owners", {"name": "x", "keyHash": "0"}),
    ("POST", "/v1/owners", {"name": "x" * 300}),
]


async def test_hostile_input_is_refused_and_nothing_fails(there: Place) -> None:
    process, port = await serve(there)
    for method, path, body in HOSTILE:
        reply = await call(port, path, body, key=ADMIN, method=method)
        assert 400 <= reply.status < 500, (method, path, reply)
        assert "service/" not in reply.error["message"]
    assert not process.events("failed")
    keys = (await call(port, "/v1/keys", key=ADMIN)).json["data"]
    assert {key["name"] for key in keys} == {"local", "boss"}


async def test_a_change_of_nothing_known_is_refused(there: Place) -> None:
    _, port = await serve(there)
    await make(port, "k")
    for body in ({"unknown": None}, {"name": "other"}, {"createdBy": "boss"}, {"expires_at": None}):
        reply = await call(port, "/v1/keys/k", body, key=ADMIN, method="PATCH")
        assert (reply.status, reply.error["code"]) == (400, "unknown_parameter"), body


async def test_an_entry_has_the_request_id_of_its_answer(there: Place) -> None:
    _, port = await serve(there)
    made = await make(port, "k")
    (entry,) = (await call(port, "/v1/audit?target=k", key=ADMIN)).json["data"]
    assert entry["request_id"] == made.headers["x-request-id"]


async def test_refusals_without_end_are_few_rows(there: Place) -> None:
    _, port = await serve(there)
    count = 300
    async with connect_to(port) as connection:
        for number in range(count):
            path = f"/v1/models/guess-{number}"
            key = f"sk-{number}" if number % 2 else MEMBER
            await connection.send(request(path, key=key, close=False))
            assert (await connection.read_reply()).status == (401 if number % 2 else 404)

    async def counted() -> bool:
        rows = (await call(port, "/v1/audit?action=refused", key=ADMIN)).json["data"]
        assert len(rows) <= 4
        assert "guess" not in str(rows)
        return bool(sum(row["details"]["count"] for row in rows) == count)

    await until(counted, "the refusals in the audit log")
