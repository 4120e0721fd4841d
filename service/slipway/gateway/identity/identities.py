"""Who calls: a key, or somebody signed in by OpenID Connect."""

from collections.abc import Callable
from dataclasses import dataclass

from slipway.gateway.auth import Key, authenticate
from slipway.gateway.catalog import Catalog
from slipway.gateway.identity.oidc import OIDC
from slipway.gateway.requests import Head


@dataclass(frozen=True, slots=True)
class Identities:
    """Finds callers."""

    catalog: Catalog
    wall: Callable[[], float]
    oidc: OIDC | None = None

    def find(self, head: Head) -> Key | None:
        """The caller; None where a token must be checked first, see `resolve`. Raises APIError 400 or 401."""
        head.check_credentials()
        token = self._token(head)
        if token is not None and self.oidc is not None:
            return self.oidc.remembered(token)
        return authenticate(self.catalog.snapshot.keyring, head.authorization, head.api_key, self.wall)

    async def resolve(self, head: Head) -> Key:
        """The caller, whatever that takes. Raises APIError 400 or 401."""
        found = self.find(head)
        if found is not None:
            return found
        token = self._token(head)
        assert token is not None  # noqa: S101 - for the type checker; `find` returns None for tokens alone
        assert self.oidc is not None  # noqa: S101
        return await self.oidc.check(token)

    async def named(self, name: str, owner: str) -> Key | None:
        """The caller of this name, for work in its absence: None once it may do nothing any more."""
        if name.startswith("oidc:"):
            key = self.oidc.person(name) if self.oidc is not None else None
        else:
            key = self.catalog.snapshot.keyring.named(name)
        if key is None or key.owner != owner or key.disabled:
            return None
        return None if key.expires_at is not None and key.expires_at <= self.wall() else key

    @staticmethod
    def _token(head: Head) -> bytes | None:
        """The bearer token if it has the shape of a JWT; keys have no dots."""
        if head.authorization is None:
            return None
        scheme, _, rest = head.authorization.partition(b" ")
        token = rest.strip()
        return token if scheme.lower() == b"bearer" and token.count(b".") == 2 else None
