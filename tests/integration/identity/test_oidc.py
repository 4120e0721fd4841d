"""Sign-in by OpenID Connect, against a provider with real keys."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from typing import Any

import jwt
import pytest

from integration.awaiting import until
from integration.gateway.clients import Reply, call, chat
from integration.gateway.conftest import StartUpstream
from integration.identity.provider import AUDIENCE, Provider
from integration.usage.conftest import Place, StartPlace


@dataclass
class There:
    """A gateway that takes tokens of a provider."""

    provider: Provider
    place: Place
    port: int

    async def ask(self, token: str, path: str = "/v1/models", body: Any = None) -> Reply:
        return await call(self.port, path, body, key=token)


async def serve(place: Place, provider: Provider, **settings: Any) -> There:
    process = place.start(oidc_issuer=provider.issuer, oidc_client_id=AUDIENCE, **settings)
    there = There(provider, place, await asyncio.to_thread(process.port))

    async def offered() -> bool:
        return (await call(there.port, "/v1/sign-in", key=None)).json["oidc"] is not None

    await until(offered, "what the provider publishes")
    return there


@pytest.fixture
def provider() -> Any:
    made = Provider()
    yield made
    made.end()


@pytest.fixture
async def there(place: StartPlace, start_upstream: StartUpstream, provider: Provider) -> There:
    made = place(await start_upstream())
    made.state._object(
        "owner", "Owner", "search", {"subjects": ["ann"], "models": ["m"], "limits": {"requestsPerMinute": 3}}
    )
    return await serve(made, provider)


async def test_a_token_calls_models_as_its_owner(there: There) -> None:
    token = there.provider.token()
    me = (await there.ask(token, "/v1/me")).json
    assert (me["kind"], me["name"], me["owner"], me["role"]) == ("oidc", "oidc:ann", "search", "member")
    assert {each["id"] for each in (await there.ask(token)).json["data"]} == {"m"}
    replies = [await there.ask(token, "/v1/chat/completions", chat()) for _ in range(5)]
    assert [reply.status for reply in replies] == [200, 200, 200, 429, 429]
    await there.place.recorded(5)
    assert {record["key"] for record in there.place.records()} == {"oidc:ann"}
    usage = (await there.ask(token, "/v1/usage?group_by=key")).json
    assert usage["data"][0]["key"] == "oidc:ann"


async def test_new_keys_of_the_provider_are_found(there: There) -> None:
    algorithms = ("ES256", "EdDSA", "RS512")
    for algorithm in algorithms:
        there.provider.add(algorithm, algorithm)
    for algorithm in algorithms:
        token = there.provider.token(algorithm)

        async def known(token: str = token) -> bool:
            return (await there.ask(token)).status == 200

        await until(known, f"a token signed by {algorithm}")


async def test_unknown_key_ids_do_not_hammer_the_provider(there: There) -> None:
    before = there.provider.fetches
    for number in range(50):
        assert (await there.ask(there.provider.token(headers={"kid": f"no-{number}"}))).status == 401
    assert there.provider.fetches - before <= 2


def bad_tokens(provider: Provider) -> dict[str, str]:
    now = int(time.time())
    other = Provider()
    foreign = jwt.encode(
        {"iss": provider.issuer, "aud": AUDIENCE, "sub": "ann", "exp": now + 60},
        other.keys["rsa-1"][1],
        "RS256",
        headers={"kid": "rsa-1"},
    )
    other.end()

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"iss": provider.issuer, "aud": AUDIENCE, "sub": "ann", "exp": now + 60}
    signed = f"{part({'alg': 'HS256', 'kid': 'rsa-1'})}.{part(claims)}"
    mac = hmac.new(provider.public_pem(), signed.encode(), hashlib.sha256).digest()
    good = provider.token()
    return {
        "expired": provider.token(exp=now - 3600),
        "not yet": provider.token(nbf=now + 3600),
        "no end": provider.token(exp=None),
        "wrong audience": provider.token(aud="other"),
        "no audience": provider.token(aud=None),
        "wrong issuer": provider.token(iss="https://evil.example"),
        "signed by another": foreign,
        "none": f"{part({'alg': 'none', 'kid': 'rsa-1'})}.{part(claims)}.",
        "public key as a secret": f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}",
        "changed": good[:-6] + ("aaaaaa" if not good.endswith("aaaaaa") else "bbbbbb"),
        "kid that is a path": provider.token(headers={"kid": "../../rsa-1"}),
        "huge": provider.token(fill="x" * 20_000),
        "odd subject": provider.token(sub="ann\nroot"),
        "no subject": provider.token(sub=None),
        "not a token": "a.b.c",
    }


async def test_no_bad_token_comes_in(there: There) -> None:
    for name, token in bad_tokens(there.provider).items():
        reply = await there.ask(token)
        assert (reply.status, reply.error["code"]) == (401, "invalid_api_key"), name


async def test_a_person_whom_nobody_knows_is_told_so(there: There) -> None:
    reply = await there.ask(there.provider.token(sub="eve"))
    assert (reply.status, reply.error["code"]) == (401, "unknown_person")
    assert "`eve`" in reply.error["message"]


async def test_known_tokens_and_keys_go_on_without_the_provider(there: There) -> None:
    token = there.provider.token()
    assert (await there.ask(token)).status == 200
    there.provider.shutdown()
    assert (await there.ask(token)).status == 200
    assert (await there.ask(there.provider.token(jti="another"))).status == 200
    assert (await there.ask("sk-test")).status == 200


async def test_an_owner_that_changes_counts_at_once(there: There) -> None:
    token = there.provider.token()
    assert (await there.ask(token, "/v1/me")).json["role"] == "member"
    there.place.state._object("owner", "Owner", "search", {"subjects": ["ann"], "role": "admin"})

    async def admin() -> bool:
        return bool((await there.ask(token, "/v1/me")).json["role"] == "admin")

    await until(admin, "the owner's new role")
    there.place.state._object("owner", "Owner", "search", {"subjects": []})

    async def out() -> bool:
        return (await there.ask(token, "/v1/me")).status == 401

    await until(out, "the end of what an owner that no longer names ann allowed")


async def test_owner_and_role_may_come_from_claims(
    place: StartPlace, start_upstream: StartUpstream, provider: Provider
) -> None:
    there = await serve(
        place(await start_upstream()),
        provider,
        oidc_owner_claim="team",
        oidc_role_claim="groups",
        oidc_admin_values='["ml-admins"]',
        oidc_accept_unlisted="true",
    )
    me = (await there.ask(provider.token(team="research", groups=["staff"]), "/v1/me")).json
    assert (me["owner"], me["role"]) == ("research", "member")
    me = (await there.ask(provider.token(sub="bob", groups=["staff", "ml-admins"]), "/v1/me")).json
    assert (me["owner"], me["role"]) == ("oidc:bob", "admin")


async def test_an_address_counts_where_it_is_verified(
    place: StartPlace, start_upstream: StartUpstream, provider: Provider
) -> None:
    made = place(await start_upstream())
    made.state._object("owner", "Owner", "search", {"subjects": ["ann@example.com"]})
    there = await serve(made, provider, oidc_subject_claim="email")
    good = provider.token(email="ann@example.com", email_verified=True)
    assert (await there.ask(good, "/v1/me")).json["owner"] == "search"
    bad = provider.token(email="ann@example.com", email_verified=False)
    assert (await there.ask(bad)).status == 401


async def test_the_console_may_ask_the_provider_and_nobody_else(there: There) -> None:
    page = await call(there.port, "/", key=None)
    policy = page.headers["content-security-policy"]
    assert f"connect-src 'self' {there.provider.issuer};" in policy
    offered = (await call(there.port, "/v1/sign-in", key=None)).json["oidc"]
    assert offered["authorization_endpoint"] == f"{there.provider.issuer}/authorize"
