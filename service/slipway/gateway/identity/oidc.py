"""Sign-in by OpenID Connect: a JWT instead of a key, checked against the provider's published keys.

A token that was checked is remembered by the hash of all of it, so that the next request costs a look in a
dictionary; what its owner may is looked up anew whenever owners change, and all tokens are forgotten when the
provider's keys do.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import jwt

from slipway.gateway.auth import Key
from slipway.gateway.catalog import Catalog
from slipway.gateway.errors import APIError, invalid_api_key
from slipway.gateway.identity.provider import ALGORITHMS, Provider, ProviderError, fetch
from slipway.gateway.logs import JSONLog
from slipway.gateway.settings import GatewaySettings
from slipway.objects import APIKeySpec, Owner, Role

LONGEST = 8192
"""Bytes of a token."""
REMEMBERED = 10_000
"""Tokens that were checked."""
PAUSE = 10.0
"""Seconds between two fetches of the keys that unknown key ids may cause."""
FRESH = 900.0
"""Seconds after which the keys are fetched again anyway: one that was withdrawn counts no longer."""
_SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+:/=|-]{0,199}")
_TYPES = ("jwt", "at+jwt", "application/at+jwt")
"""What a token may call itself: a notice of a logout, say, is signed by the same keys and is none."""
PREFIX = "oidc:"
"""Before the names of people, which no key's name can begin with."""


def unknown_person(subject: str) -> APIError:
    """401 for somebody who is signed in and known to nobody here."""
    return APIError(
        401,
        "unknown_person",
        f"You are signed in as `{subject}`, and no owner here names you. Ask an admin to add you to one.",
        kind="invalid_request_error",
        headers=[(b"www-authenticate", b"Bearer")],
    )


@dataclass(frozen=True, slots=True)
class Person:
    """What a token says, as far as it matters here."""

    subject: str
    ends: float
    """Seconds since 1970."""
    owner: str | None
    """The owner that the provider names."""
    admin: bool
    """The provider makes it one."""


@dataclass(slots=True)
class _Checked:
    """A token that was good, and whose it was by the owners of that time."""

    person: Person
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
        if checked is None or checked.person.ends <= self.wall():
            return None
        owners = self.catalog.snapshot.owners
        if checked.owners is not owners:
            checked.key, checked.owners = self._key(checked.person, owners), owners
        return checked.key

    async def check(self, token: bytes) -> Key:
        """Whose token it is. Raises APIError 401."""
        algorithm, key = await self._signed_with(token)
        provider = self.provider
        assert provider is not None  # noqa: S101 - a key of it was found
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=self.settings.oidc_audience or self.settings.oidc_client_id,
                issuer=provider.issuer,
                leeway=self.settings.oidc_leeway,
                options={"require": ["exp", "iss", "aud"], "verify_iat": False},
            )
            person = self._person(claims)
        except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError):
            raise invalid_api_key() from None
        owners = self.catalog.snapshot.owners
        found = self._key(person, owners)
        self._checked[sha256(token).digest()] = _Checked(person, owners, found)
        while len(self._checked) > REMEMBERED:
            self._checked.popitem(last=False)
        return found

    def person(self, name: str, owner: str, owners: Mapping[str, Owner]) -> Key | None:
        """Somebody who is not here now, as this owner; None if nobody signs in so any more.

        Of people whom no owner lists only the provider knows: where they are let in, they stay who they were.
        """
        subject = name.removeprefix(PREFIX)
        listed = _listing(subject, owners)
        if listed is not None:
            role = listed.spec.role
            return _made(subject, owner, listed, role) if listed.owner_name == owner else None
        if self.settings.oidc_owner_claim or self.settings.oidc_accept_unlisted:
            there = owners.get(owner)
            return _made(subject, owner, there, there.spec.role if there is not None else "member")
        return None

    async def _signed_with(self, token: bytes) -> tuple[str, jwt.PyJWK]:
        """The algorithm and the provider's key that a token says it is signed with. Raises APIError 401."""
        if len(token) > LONGEST:
            raise invalid_api_key()
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise invalid_api_key() from None
        algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if algorithm not in ALGORITHMS or not isinstance(kid, str):
            raise invalid_api_key()
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise invalid_api_key()
        key = self._known(kid)
        if key is None and (self._fetching is not None or self.clock() - self._fetched >= PAUSE):
            await self._fetch()
            key = self._known(kid)
        if key is None or key.algorithm_name != algorithm:
            raise invalid_api_key()
        return algorithm, key

    def _known(self, kid: str) -> jwt.PyJWK | None:
        return self.provider.keys.get(kid) if self.provider is not None else None

    def _person(self, claims: Mapping[str, Any]) -> Person:
        """Read claims. Raises APIError 401, ValueError, TypeError."""
        settings = self.settings
        subject = claims.get(settings.oidc_subject_claim)
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            raise invalid_api_key()
        if settings.oidc_subject_claim == "email" and claims.get("email_verified") is not True:
            raise invalid_api_key()  # Elsewhere people write into it what they like.
        owner = claims.get(settings.oidc_owner_claim) if settings.oidc_owner_claim else None
        usable = isinstance(owner, str) and 0 < len(owner) <= 253 and owner.isprintable()
        said = claims.get(settings.oidc_role_claim) if settings.oidc_role_claim else None
        roles = said if isinstance(said, list) else [said]
        admin = any(isinstance(each, str) and each in settings.oidc_admin_values for each in roles)
        return Person(subject, float(claims["exp"]), owner if usable else None, admin)

    def _key(self, person: Person, owners: Mapping[str, Owner]) -> Key:
        """What somebody may. Raises APIError 401."""
        owner = _listing(person.subject, owners)
        if owner is not None:
            name = owner.owner_name
        elif person.owner is not None:
            name, owner = person.owner, owners.get(person.owner)
        elif self.settings.oidc_accept_unlisted:
            # Not the subject alone: it could be the name of an owner that this person is none of.
            name = PREFIX + person.subject
            owner = owners.get(name)
        else:
            raise unknown_person(person.subject)
        role: Role = owner.spec.role if owner is not None else "member"
        return _made(person.subject, name, owner, "admin" if person.admin else role)

    async def _fetch(self) -> None:
        """Fetch the provider's description and keys, once at a time; what was known stays if that fails."""
        if self._fetching is None:
            self._fetched = self.clock()
            self._fetching = asyncio.create_task(self._fetch_now())
        await asyncio.shield(self._fetching)

    async def _fetch_now(self) -> None:
        settings = self.settings
        try:
            provider = await asyncio.to_thread(fetch, settings.oidc_issuer, settings.oidc_jwks_url)
        except ProviderError as error:
            self.log.write("warning", "oidc", str(error))
        else:
            if self.provider is not None and self.provider.published != provider.published:
                self._checked.clear()
            self.provider = provider
        finally:
            self._fetching = None


def _listing(subject: str, owners: Mapping[str, Owner]) -> Owner | None:
    """The owner that names somebody."""
    return next((owner for owner in owners.values() if subject in owner.spec.subjects), None)


def _made(subject: str, name: str, owner: Owner | None, role: Role) -> Key:
    spec = APIKeySpec(
        owner=name,
        role=role,
        models=owner.spec.models if owner is not None else ("*",),
        priority=owner.spec.priority if owner is not None else "normal",
    )
    return Key.made(PREFIX + subject, spec, "", kind="oidc")
