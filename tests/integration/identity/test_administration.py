"""Keys and owners through the API: who may do what, on several gateways, written down."""

import asyncio
from typing import Any

import pytest

from integration.awaiting import until
from integration.gateway.clients import Reply, call, chat
from integration.gateway.conftest import StartUpstream
from integration.gateway.processes import Process
from integration.servers import Postgres
from integration.usage.conftest import Place, StartPlace

ADMIN, MEMBER, NARROW = "sk-boss", "sk-test", "sk-narrow"


async def serve(there: Place, **settings: Any) -> tuple[Process, int]:
    process = there.start(**settings)
    port = await asyncio.to_thread(process.port)

    async def open_() -> bool:
        return (await call(port, "/v1/audit", key=ADMIN)).status == 200

    await until(open_, "the database's opening")
    return process, port


def keys_of(there: Place) -> None:
    there.state.key("narrow", NARROW, owner="default", models=["m"], limits={"requestsPerMinute": 50})


async def make(port: int, name: str, key: str = ADMIN, **fields: Any) -> Reply:
    return await call(port, "/v1/keys", {"name": name, **fields}, key=key)


@pytest.fixture(params=["sqlite", "postgresql"])
def there(request: pytest.FixtureRequest, place: StartPlace) -> Place:
    url = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    made = place(url=url)
    keys_of(made)
    return made


async def test_a_key_is_made_used_rotated_and_revoked_on_every_gateway(
    place: StartPlace, start_upstream: StartUpstream
) -> None:
    there = place(await start_upstream())
    _, one = await serve(there)
    _, two = await serve(there)
    made = await make(one, "team", owner="search", limits={"requestsPerMinute": 100})
    assert made.status == 201
    plain = made.json["key"]
    assert (await call(one, "/v1/chat/completions", chat(), key=plain)).status == 200

    async def works(port: int, key: str) -> bool:
        return (await call(port, "/v1/models", key=key)).status == 200

    await until(lambda: works(two, plain), "the key on the other gateway")
    rotated = (await call(two, "/v1/keys/team/rotate", {"graceSeconds": 600}, key=ADMIN)).json
    assert await works(two, rotated["key"])
    await until(lambda: works(one, rotated["key"]), "the rotated key there")
    assert await works(one, plain)
    again = (await call(two, "/v1/keys/team/rotate", {"graceSeconds": 0}, key=ADMIN)).json
    assert await works(two, again["key"])
    assert not await works(two, rotated["key"])
    assert (await call(one, "/v1/keys/team", key=ADMIN, method="DELETE")).status == 200
    assert not await works(one, again["key"])

    async def gone() -> bool:
        return not await works(two, again["key"])

    await until(gone, "the end of the revoked key there")


async def test_what_a_member_may_and_may_not(there: Place) -> None:
    _, port = await serve(there)
    made = await make(port, "child", MEMBER, models=["m"])
    assert (made.status, made.json["owner"], made.json["role"]) == (201, "default", "member")
    for fields, param in (
        ({"role": "admin"}, "role"),
        ({"owner": "platform"}, "owner"),
        ({"priority": "high"}, "priority"),
    ):
        reply = await make(port, "more", MEMBER, **fields)
        assert (reply.status, reply.error["code"], reply.error["param"]) == (403, "permission_denied", param)
    unknown: tuple[dict[str, Any], ...] = (
        {"createdBy": "x"},
        {"status": {}},
        {"keyHash": "0" * 64},
        {"kind": "oidc"},
    )
    for fields in unknown:
        reply = await make(port, "more", MEMBER, **fields)
        assert (reply.status, reply.error["code"]) == (400, "unknown_parameter")
    reply = await call(port, "/v1/keys/child", {"role": "admin"}, key=MEMBER, method="PATCH")
    assert reply.status == 403
    listed = (await call(port, "/v1/keys", key=MEMBER)).json["data"]
    assert {key["name"] for key in listed} == {"local", "narrow", "child"}
    assert "boss" in {key["name"] for key in (await call(port, "/v1/keys", key=ADMIN)).json["data"]}


async def test_a_narrow_key_cannot_take_over_a_broad_one(there: Place) -> None:
    """Rotating it would give its secret away; changing or revoking it is as little its business."""
    _, port = await serve(there)
    assert (await make(port, "broad", MEMBER)).status == 201
    for method, path, body in (
        ("POST", "/v1/keys/broad/rotate", {}),
        ("PATCH", "/v1/keys/broad", {"disabled": True}),
        ("DELETE", "/v1/keys/broad", None),
    ):
        reply = await call(port, path, body, key=NARROW, method=method)
        assert (reply.status, reply.error["code"]) == (403, "permission_denied")
    child = await make(port, "child", NARROW)
    assert (child.json["models"], child.json["limits"]) == (["m"], {"requestsPerMinute": 50, "budgetUSD": {}})


async def test_with_a_key_go_those_that_it_made(there: Place) -> None:
    _, port = await serve(there)
    parent = (await make(port, "parent", MEMBER)).json["key"]
    child = (await make(port, "child", parent)).json["key"]
    grandchild = (await make(port, "grandchild", child)).json["key"]
    revoked = await call(port, "/v1/keys/parent", key=ADMIN, method="DELETE")
    assert sorted(revoked.json["alsoDeleted"]) == ["child", "grandchild"]
    for key in (parent, child, grandchild):
        assert (await call(port, "/v1/models", key=key)).status == 401


ROUTES = [
    ("GET", "/v1/owners", None),
    ("POST", "/v1/owners", {"name": "x"}),
    ("GET", "/v1/owners/team", None),
    ("PATCH", "/v1/owners/team", {"role": "admin"}),
    ("DELETE", "/v1/owners/team", None),
    ("GET", "/v1/audit", None),
    ("GET", "/v1/organization/costs?start_time=1", None),
    ("GET", "/v1/organization/usage/completions?start_time=1", None),
    ("GET", "/v1/usage?owner=platform", None),
]


async def test_administration_is_for_admins(there: Place) -> None:
    _, port = await serve(there)
    for method, path, body in ROUTES:
        member = await call(port, path, body, key=MEMBER, method=method)
        assert (member.status, member.error["code"]) == (403, "permission_denied"), path
        nobody = await call(port, path, body, key="sk-nobody", method=method)
        assert nobody.status == 401, path


async def test_an_owner_is_made_limits_its_keys_and_goes(
    place: StartPlace, start_upstream: StartUpstream
) -> None:
    there = place(await start_upstream())
    _, port = await serve(there)
    body = {"name": "search@example.com", "limits": {"requestsPerMinute": 3}, "subjects": ["ann"]}
    assert (await call(port, "/v1/owners", body, key=ADMIN)).status == 201
    assert (await call(port, "/v1/owners", body, key=ADMIN)).error["code"] == "name_taken"
    plain = [(await make(port, f"s{n}", owner="search@example.com")).json["key"] for n in range(2)]
    statuses = [(await call(port, "/v1/chat/completions", chat(), key=plain[n % 2])).status for n in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    changed = {"limits": {"requestsPerMinute": 4}}
    reply = await call(port, "/v1/owners/search@example.com", changed, key=ADMIN, method="PATCH")
    assert (reply.json["limits"]["requestsPerMinute"], reply.json["subjects"]) == (4, ["ann"])
    assert (await call(port, "/v1/chat/completions", chat(), key=plain[0])).status == 200
    reply = await call(port, "/v1/owners/search@example.com", key=ADMIN, method="DELETE")
    assert reply.status == 200
    assert (await call(port, "/v1/chat/completions", chat(), key=plain[0])).status == 200


async def test_what_comes_from_an_object_is_changed_there(there: Place) -> None:
    _, port = await serve(there)
    reply = await call(port, "/v1/keys/local", {"disabled": True}, key=ADMIN, method="PATCH")
    assert (reply.status, reply.error["code"]) == (409, "declared_elsewhere")
    assert (await make(port, "local")).error["code"] == "name_taken"


async def test_every_change_and_refusal_is_written_down_and_no_secret(there: Place) -> None:
    process, port = await serve(there)
    made = (await make(port, "team", priority="low")).json
    await call(port, "/v1/keys/team", {"disabled": True}, key=ADMIN, method="PATCH")
    await call(port, "/v1/keys/team", key=ADMIN, method="DELETE")
    for _ in range(30):
        await call(port, "/v1/chat/completions", chat(), key="sk-guess")
    await call(port, "/v1/owners", key=MEMBER)

    async def refusals() -> bool:
        rows = (await call(port, "/v1/audit?action=refused", key=ADMIN)).json["data"]
        counted = {row["details"]["code"]: row["details"]["count"] for row in reversed(rows)}
        guesses = [row["details"]["count"] for row in rows if row["details"]["code"] == "invalid_api_key"]
        return bool(counted.get("permission_denied", 0) >= 1 and sum(guesses) >= 30)

    await until(refusals, "the refusals in the audit log", seconds=120)
    rows = (await call(port, "/v1/audit", key=ADMIN)).json["data"]
    done = [
        (row["actor"], row["action"], row["target"]) for row in reversed(rows) if row["action"] != "refused"
    ]
    assert done == [
        ("boss", "key.create", "team"),
        ("boss", "key.change", "team"),
        ("boss", "key.revoke", "team"),
    ]
    assert len([row for row in rows if row["action"] == "refused"]) < 12
    text = str(rows) + str(process.log)
    assert made["key"] not in text
    assert "sk-guess" not in text
    told = [line["action"] for line in process.events("audit") if line["action"] != "refused"]
    assert told == ["key.create", "key.change", "key.revoke"]


async def test_while_the_database_is_away_known_keys_stay(
    place: StartPlace, start_upstream: StartUpstream, own_postgres: Postgres
) -> None:
    there = place(await start_upstream(), url=own_postgres.new_database())
    _, port = await serve(there, database_timeout=3)
    plain = (await make(port, "team")).json["key"]
    own_postgres.pause()
    try:
        assert (await call(port, "/v1/chat/completions", chat(), key=plain)).status == 200
        reply = await make(port, "other")
        assert (reply.status, reply.error["code"]) == (503, "database_unavailable")
        assert (await call(port, "/v1/models", key=plain)).status == 200
    finally:
        own_postgres.resume()

    async def made() -> bool:
        return (await make(port, "more")).status == 201  # The other may be made after all, see the docs.

    await until(made, "a key made after the database's return")
