"""What a provider publishes, and how its keys come and go: with a clock of the test's own."""

import asyncio
import io
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from integration.identity.provider import AUDIENCE, Provider
from slipway.gateway.catalog import Catalog, Snapshot
from slipway.gateway.errors import APIError
from slipway.gateway.identity.oidc import OIDC, PAUSE
from slipway.gateway.identity.provider import ProviderError, fetch
from slipway.gateway.logs import JSONLog
from slipway.gateway.settings import GatewaySettings
from slipway.objects import Metadata, Owner, OwnerSpec


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.end()


def checker(provider: Provider, folder: Path, clock: Clock, **settings: Any) -> OIDC:
    """Takes tokens of the provider; `search` names ann, `platform` is an admins' owner that names nobody."""
    owners = {
        "search": Owner(metadata=Metadata(name="search"), spec=OwnerSpec(subjects=("ann", "ann@x.org"))),
        "platform": Owner(metadata=Metadata(name="platform"), spec=OwnerSpec(role="admin")),
    }
    chosen = GatewaySettings(state=folder, oidc_issuer=provider.issuer, oidc_client_id=AUDIENCE, **settings)
    return OIDC(chosen, Catalog(Snapshot(owners=owners)), JSONLog(io.StringIO()), clock, time.time)


async def refused(oidc: OIDC, token: str) -> str:
    with pytest.raises(APIError) as caught:
        await oidc.check(token.encode())
    assert caught.value.status == 401
    return caught.value.code


async def test_tokens_that_wait_for_the_keys_are_checked_with_one_fetch(
    provider: Provider, tmp_path: Path
) -> None:
    oidc = checker(provider, tmp_path, Clock())
    keys = await asyncio.gather(*(oidc.check(provider.token(jti=str(n)).encode()) for n in range(20)))
    assert {key.owner for key in keys} == {"search"}
    assert provider.fetches == 1


async def test_a_key_that_is_withdrawn_takes_its_tokens_along(provider: Provider, tmp_path: Path) -> None:
    clock = Clock()
    oidc = checker(provider, tmp_path, clock)
    old = provider.token().encode()
    await oidc.check(old)
    assert oidc.remembered(old) is not None
    del provider.keys["rsa-1"]
    provider.add("next", "ES256")
    new = provider.token("next")
    assert await refused(oidc, new) == "invalid_api_key"  # Asked for too soon after the last fetch.
    clock.now += PAUSE
    assert (await oidc.check(new.encode())).owner == "search"
    assert oidc.remembered(old) is None
    await refused(oidc, old.decode())


async def test_only_what_is_a_token_for_access_is_one(provider: Provider, tmp_path: Path) -> None:
    oidc = checker(provider, tmp_path, Clock())
    for kind in ("JWT", "jwt", "at+jwt"):
        assert (await oidc.check(provider.token(headers={"typ": kind}).encode())).owner == "search"
    for kind in ("logout+jwt", "secevent+jwt", "dpop+jwt"):
        await refused(oidc, provider.token(headers={"typ": kind}))


async def test_nobody_becomes_an_owner_by_its_name(provider: Provider, tmp_path: Path) -> None:
    oidc = checker(provider, tmp_path, Clock(), oidc_accept_unlisted=True)
    key = await oidc.check(provider.token(sub="platform").encode())
    assert (key.owner, key.role) == ("oidc:platform", "member")


@pytest.mark.parametrize("said", [{}, {"email_verified": False}, {"email_verified": "true"}])
async def test_an_address_that_nobody_has_verified_is_none(
    provider: Provider, tmp_path: Path, said: dict[str, Any]
) -> None:
    oidc = checker(provider, tmp_path, Clock(), oidc_subject_claim="email")
    await refused(oidc, provider.token(email="ann@x.org", **said))
    good = provider.token(email="ann@x.org", email_verified=True)
    assert (await oidc.check(good.encode())).owner == "search"


@pytest.mark.parametrize(
    "claims", [{"exp": "soon"}, {"exp": [1]}, {"aud": {}}, {"sub": {"a": 1}}, {"nbf": "x"}]
)
async def test_claims_of_another_shape_are_refused(
    provider: Provider, tmp_path: Path, claims: dict[str, Any]
) -> None:
    import jwt

    key = provider.keys["rsa-1"][1]
    now = int(time.time())
    every = {"iss": provider.issuer, "aud": AUDIENCE, "sub": "ann", "exp": now + 60, **claims}
    payload = json.dumps(every).encode()
    token = jwt.api_jws.encode(payload, key, "RS256", headers={"kid": "rsa-1"})
    await refused(checker(provider, tmp_path, Clock()), token)


async def test_a_person_in_absence_is_who_the_owners_say(provider: Provider, tmp_path: Path) -> None:
    oidc = checker(provider, tmp_path, Clock())
    owners = oidc.catalog.snapshot.owners
    assert oidc.person("oidc:ann", "search", owners) is not None
    assert oidc.person("oidc:ann", "platform", owners) is None
    assert oidc.person("oidc:eve", "search", owners) is None
    open_to_all = checker(provider, tmp_path, Clock(), oidc_accept_unlisted=True)
    assert open_to_all.person("oidc:eve", "oidc:eve", owners) is not None


# --- what is published ------------------------------------------------------------------------------

Pages = dict[str, tuple[int, bytes]]


@pytest.fixture
def site() -> Iterator[tuple[str, Pages]]:
    """A site whose pages the test writes."""
    pages: Pages = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = pages.get(self.path, (404, b"{}"))
            self.send_response(status)
            if status == 302:
                self.send_header("location", body.decode())
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", pages
        server.shutdown()
        thread.join()


DISCOVERY = "/.well-known/openid-configuration"


def describe(site: str, **changed: Any) -> tuple[int, bytes]:
    usual = {"issuer": site, "jwks_uri": f"{site}/keys", "token_endpoint": "javascript:alert(1)"}
    return 200, json.dumps({**usual, **changed}).encode()


def test_a_key_that_is_not_understood_hides_no_other(site: tuple[str, Pages], provider: Provider) -> None:
    url, pages = site
    good = fetch(provider.issuer, "").published[0]
    odd = [
        "x",
        {},
        {"kid": 1},
        {"kid": "a", "kty": "oct", "k": "AAAA"},
        {"kid": "b", "kty": "RSA", "n": "", "e": ""},
    ]
    pages[DISCOVERY] = describe(url)
    pages["/keys"] = 200, json.dumps({"keys": [*odd, json.loads(good)]}).encode()
    found = fetch(url, "")
    assert list(found.keys) == ["rsa-1"]
    assert found.token_endpoint == ""  # No page may be sent to an address that is none.


@pytest.mark.parametrize(
    ("page", "content"),
    [
        (DISCOVERY, (200, b"[]")),
        (DISCOVERY, (200, b"<html>")),
        (DISCOVERY, (200, b"[" * 100_000)),
        (DISCOVERY, (200, b" " * 2_000_000)),
        (DISCOVERY, (503, b"{}")),
        (DISCOVERY, (302, b"/elsewhere")),
        (DISCOVERY, (200, b'{"issuer": "https://evil.example"}')),
        (DISCOVERY, (200, b'{"issuer": 5}')),
        ("/keys", (200, b'{"keys": 5}')),
        ("/keys", (200, b'{"keys": []}')),
        ("/keys", (200, b'{"keys": [{"kid": "a", "kty": "oct", "k": "AAAA", "alg": "HS256"}]}')),
        ("/keys", (404, b"")),
    ],
)
def test_what_cannot_be_used_is_a_sentence(
    site: tuple[str, Pages], page: str, content: tuple[int, bytes]
) -> None:
    url, pages = site
    pages[DISCOVERY] = describe(url)
    pages["/elsewhere"] = describe(url)
    pages[page] = content
    with pytest.raises(ProviderError):
        fetch(url, "")


@pytest.mark.parametrize(
    "keys", ["http://169.254.169.254/keys", "file:///etc/passwd", "ftp://x/keys", "http://[", ""]
)
def test_keys_are_fetched_over_https_alone(site: tuple[str, Pages], keys: str) -> None:
    url, pages = site
    pages[DISCOVERY] = describe(url, jwks_uri=keys)
    with pytest.raises(ProviderError, match="https"):
        fetch(url, "")
