"""Sign-in by OpenID Connect: a JWT instead of a key, checked against the provider's published keys.

Only signatures of a public key are taken, by an allow-list of algorithms, so that neither `none` nor a
provider's public key used as a shared secret passes. A token that was checked is remembered by its hash, so
that the next request costs a look in a dictionary.
"""

import asyncio
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import jwt

from slipway.gateway.auth import Key
from slipway.gateway.catalog import Catalog
from slipway.gateway.errors import APIError, invalid_api_key
from slipway.gateway.logs import JSONLog
from slipway.gateway.settings import GatewaySettings
from slipway.objects import APIKeySpec, Owner, Role

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LONGEST = 8192
"""Bytes of a token."""
REMEMBERED = 10_000
"""Tokens that were checked."""
PAUSE = 10.0
"""Seconds between two fetches of the keys that unknown key ids may cause."""
FRESH = 3600.0
"""Seconds after which the keys are fetched again anyway."""
_LARGEST = 1_048_576
_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+:/=|-]{0,199}")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ProviderError(Exception):
    """The provider cannot be asked, or says what cannot be used."""


def unknown_person(subject: str) -> APIError:
    """401 for somebody who is signed in and known to nobody here."""
    return APIError(
        401,
        "unknown_person",
        f"You are signed in as `{subject}`, and no owner here names you. Ask an admin to add you to one.",
        kind="invalid_request_error",
        headers=[(b"www-authenticate", b"Bearer")],
    )


@dataclass(slots=True)
class Provider:
    """What a provider publishes: its endpoints and its keys by their ids."""

    issuer: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    keys: dict[str, jwt.PyJWK] = field(default_factory=dict)


@dataclass(slots=True)
class _Checked:
    """A token that was good, and whose it was by the owners of that time."""

    claims: dict[str, Any]
    owners: Mapping[str, Owner]
    key: Key


@dataclass(slots=True)
class OIDC:
    """Checks tokens of one issuer."""

    settings: GatewaySettings
    catalog: Catalog
    log: JSONLog
    clock: Callable[[], float]
    wall: Callable[[], float]
    provider: Provider | None = None
    _checked: "OrderedDict[bytes, _Checked]" = field(default_factory=OrderedDict)
    _fetched: float = -1e9
    _fetching: "asyncio.Task[None] | None" = None

    async def run(self) -> None:
        """Keep the provider's keys fresh until cancelled."""
        while True:
            await self._fetch()
            await asyncio.sleep(FRESH if self.provider is not None else PAUSE)

    def remembered(self, token: bytes) -> Key | None:
        """Whose token it is, if it was checked before and has not ended. Raises APIError 401."""
        checked = self._checked.get(sha256(token).digest())
        if checked is None or checked.claims["exp"] <= self.wall():
            return None
        if checked.owners is not self.catalog.snapshot.owners:
            checked.key, checked.owners = self._key(checked.claims), self.catalog.snapshot.owners
        return checked.key

    async def check(self, token: bytes) -> Key:
        """Whose token it is. Raises APIError 401."""
        if len(token) > LONGEST:
            raise invalid_api_key()
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise invalid_api_key() from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS or not isinstance(kid, str):
            raise invalid_api_key()
        key = self._known(kid)
        if key is None and self.clock() - self._fetched >= PAUSE:
            await self._fetch()
            key = self._known(kid)
        if key is None or key.algorithm_name != algorithm:
            raise invalid_api_key()
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=self.settings.oidc_audience or self.settings.oidc_client_id,
                issuer=self.settings.oidc_issuer,
                leeway=self.settings.oidc_leeway,
                options={"require": ["exp", "iss", "aud"], "verify_iat": False},
            )
        except jwt.PyJWTError:
            raise invalid_api_key() from None
        found = self._key(claims)
        self._checked[sha256(token).digest()] = _Checked(claims, self.catalog.snapshot.owners, found)
        while len(self._checked) > REMEMBERED:
            self._checked.popitem(last=False)
        return found

    def person(self, name: str) -> Key | None:
        """Somebody who signed in before, for work in their absence; None if no owner names them."""
        subject = name.removeprefix("oidc:")
        owner = self._owner_of(subject)
        return None if owner is None else self._made(subject, owner.owner_name, owner, owner.spec.role)

    def _known(self, kid: str) -> jwt.PyJWK | None:
        return self.provider.keys.get(kid) if self.provider is not None else None

    def _key(self, claims: dict[str, Any]) -> Key:
        settings = self.settings
        subject = claims.get(settings.oidc_subject_claim)
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            raise invalid_api_key()
        if settings.oidc_subject_claim == "email" and claims.get("email_verified") is False:
            raise invalid_api_key()
        owner = self._owner_of(subject)
        name = owner.owner_name if owner is not None else None
        if owner is None and settings.oidc_owner_claim:
            claimed = claims.get(settings.oidc_owner_claim)
            if isinstance(claimed, str) and 0 < len(claimed) <= 253:
                name, owner = claimed, self.catalog.snapshot.owners.get(claimed)
        if owner is None and name is None and settings.oidc_accept_unlisted:
            name = subject
        if name is None:
            raise unknown_person(subject)
        role: Role = owner.spec.role if owner is not None else "member"
        if settings.oidc_role_claim:
            said = claims.get(settings.oidc_role_claim)
            roles = said if isinstance(said, list) else [said]
            if any(each in settings.oidc_admin_values for each in roles if isinstance(each, str)):
                role = "admin"
        return self._made(subject, name, owner, role)

    def _owner_of(self, subject: str) -> Owner | None:
        owners = self.catalog.snapshot.owners.values()
        return next((owner for owner in owners if subject in owner.spec.subjects), None)

    @staticmethod
    def _made(subject: str, name: str, owner: Owner | None, role: Role) -> Key:
        spec = APIKeySpec(
            owner=name,
            role=role,
            models=owner.spec.models if owner is not None else ("*",),
            priority=owner.spec.priority if owner is not None else "normal",
        )
        return Key.made(f"oidc:{subject}", spec, "", kind="oidc")

    async def _fetch(self) -> None:
        """Fetch the provider's description and keys, once at a time; what was known stays if that fails."""
        if self._fetching is None or self._fetching.done():
            self._fetched = self.clock()
            self._fetching = asyncio.create_task(self._fetch_now())
        await asyncio.shield(self._fetching)

    async def _fetch_now(self) -> None:
        try:
            self.provider = await asyncio.to_thread(fetch, self.settings)
        except ProviderError as error:
            self.log.write("warning", "oidc", str(error))


def fetch(settings: GatewaySettings) -> Provider:
    """What the provider publishes. Raises ProviderError with a sentence."""
    issuer = settings.oidc_issuer.rstrip("/")
    described = _get(f"{issuer}/.well-known/openid-configuration")
    if described.get("issuer", "").rstrip("/") != issuer:
        raise ProviderError(
            f"The provider calls itself {described.get('issuer')!r}, not {settings.oidc_issuer!r}."
        )
    document = _get(settings.oidc_jwks_url or str(described.get("jwks_uri")))
    keys: dict[str, jwt.PyJWK] = {}
    for each in document.get("keys", ()):
        if (
            not isinstance(each, dict)
            or not isinstance(each.get("kid"), str)
            or each.get("use", "sig") != "sig"
        ):
            continue
        try:
            key = jwt.PyJWK(each)
        except jwt.PyJWTError:
            continue
        if key.algorithm_name in ALGORITHMS:
            keys[each["kid"]] = key
    if not keys:
        raise ProviderError("The provider publishes no key that can be used.")
    return Provider(
        issuer,
        str(described.get("authorization_endpoint", "")),
        str(described.get("token_endpoint", "")),
        keys,
    )


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _get(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ProviderError(f"{url} is not an https address.")
    try:
        with build_opener(_NoRedirects).open(Request(url), timeout=5) as answer:  # noqa: S310 - checked above
            data = answer.read(_LARGEST + 1)
        document = json.loads(data) if len(data) <= _LARGEST else None
    except (OSError, ValueError, HTTPError) as error:
        raise ProviderError(f"{url} cannot be read: {error}.") from None
    if not isinstance(document, dict):
        raise ProviderError(f"{url} does not hold a JSON object.")
    return document
