"""What an OpenID provider publishes: its endpoints and the keys that it signs with.

Fetched over https (http on loopback alone), without redirects, within a size and a time.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import jwt

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures of a private key: with a shared secret (HS…) the published key could be taken for the secret."""
PATIENCE = 5.0
"""Seconds for each of the two documents."""
_LARGEST = 1_048_576
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ProviderError(Exception):
    """The provider cannot be asked, or says what cannot be used; the message says what."""


@dataclass(frozen=True, slots=True)
class Provider:
    """What a provider publishes."""

    issuer: str
    """As it writes it, which is how its tokens do."""
    authorization_endpoint: str
    token_endpoint: str
    keys: Mapping[str, jwt.PyJWK]
    """By their ids."""
    published: tuple[str, ...]
    """The keys as they were published, to see whether they have changed."""


def fetch(issuer: str, jwks_url: str) -> Provider:
    """Ask the provider; `jwks_url` may be empty. Raises ProviderError."""
    described = _get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    named = described.get("issuer")
    if not isinstance(named, str) or named.rstrip("/") != issuer.rstrip("/"):
        raise ProviderError(f"The provider calls itself {str(named)[:200]!r}, not {issuer!r}.")
    listed = _get(jwks_url or str(described.get("jwks_uri"))).get("keys")
    keys: dict[str, jwt.PyJWK] = {}
    published = []
    for each in listed if isinstance(listed, list) else ():
        key = _key(each)
        if key is not None:
            keys[each["kid"]] = key
            published.append(json.dumps(each, sort_keys=True))
    if not keys:
        raise ProviderError("The provider publishes no key that can be used.")
    return Provider(
        named,
        _endpoint(described, "authorization_endpoint"),
        _endpoint(described, "token_endpoint"),
        keys,
        tuple(published),
    )


def _key(published: Any) -> jwt.PyJWK | None:
    if not isinstance(published, dict) or published.get("use", "sig") != "sig":
        return None
    if not isinstance(published.get("kid"), str):
        return None
    try:
        key = jwt.PyJWK(published)
    except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError):
        return None  # One that is not understood must not hide the others.
    return key if key.algorithm_name in ALGORITHMS else None


def _endpoint(described: Mapping[str, Any], name: str) -> str:
    url = described.get(name)
    return url if isinstance(url, str) and _safe(url) else ""


def _safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    )


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _get(url: str) -> dict[str, Any]:
    if not _safe(url):
        raise ProviderError(f"{url[:200]!r} is not an https address.")
    try:
        with build_opener(_NoRedirects).open(Request(url), timeout=PATIENCE) as answer:  # noqa: S310 - safe
            data = answer.read(_LARGEST + 1)
        document = json.loads(data) if len(data) <= _LARGEST else None
    except (OSError, ValueError, HTTPError, RecursionError) as error:
        raise ProviderError(f"{url} cannot be read: {error}.") from None
    if not isinstance(document, dict):
        raise ProviderError(f"{url} does not hold a JSON object of a usable size.")
    return document
