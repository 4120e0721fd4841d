"""Who calls: a key, or somebody signed in by OpenID Connect."""

from collections.abc import Callable
from dataclasses import dataclass

from slipway.gateway.auth import Key, authenticate
from slipway.gateway.catalog import Catalog
from slipway.gateway.errors import APIError
from slipway.gateway.identity.oidc import OIDC
from slipway.gateway.requests import Head
from slipway.gateway.storage.database import unavailable


@dataclass(frozen=True, slots=True)
class Identities:
    """Finds callers."""

    catalog: Catalog
    wall: Callable[[], float]
    loaded: Callable[[], bool]
    """Whether the database's keys are known: before that nobody can say that a key is none of them."""
    oidc: OIDC | None = None

    def find(self, head: Head) -> Key | None:
        """The caller; None where a token must be checked first, see `resolve`.

        Raises APIError 400, 401, or 503 while the database's keys are not known yet.
        """
        head.check_credentials()
        if self.oidc is not None:
            token = self._token(head)
            if token is not None:
                return self.oidc.remembered(token)
        try:
            return authenticate(self.catalog.snapshot.keyring, head.authorization, head.api_key, self.wall)
        except APIError:
            if not self.loaded():
                raise unavailable() from None
            raise

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
            owners = self.catalog.snapshot.owners
            key = self.oidc.person(name, owner, owners) if self.oidc is not None else None
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
