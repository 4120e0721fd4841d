"""Who calls: the key's SHA-256 looked up in memory. No I/O, one answer for every key that is not good."""

import fnmatch
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from slipway.gateway.errors import APIError, invalid_api_key
from slipway.objects import APIKey, Limits, ModelLimits, Priority, Role

LONGEST_KEY = 512
"""Bytes of a key that are worth hashing; Slipway's own have 50."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key as the hot path needs it: the object's name stands for it everywhere, never the key."""

    name: str
    owner: str
    key_hash: str
    limits: Limits
    disabled: bool
    expires_at: float | None
    """Seconds since 1970; None: never."""
    _pattern: "re.Pattern[str]"
    role: Role = "member"
    priority: Priority = "normal"
    model_limits: tuple[ModelLimits, ...] = ()
    previous_hash: str | None = None
    """After a rotation: the hash of the plain key before it, good until `previous_until`."""
    previous_until: float = 0.0
    subjects: dict[str, tuple[Any, tuple[Any, ...]]] = field(default_factory=dict, compare=False, repr=False)
    """What `limits.subjects_of` remembers, by model."""
    _allowed: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, item: APIKey) -> "Key | None":
        """Read an APIKey object; None if it has no hash yet."""
        if item.status.key_hash is None:
            return None
        spec = item.spec
        return cls(
            name=item.metadata.name,
            owner=spec.owner,
            key_hash=item.status.key_hash,
            limits=spec.limits,
            disabled=spec.disabled,
            expires_at=spec.expires_at.timestamp() if spec.expires_at is not None else None,
            _pattern=re.compile("|".join(fnmatch.translate(glob) for glob in spec.models) or r"(?!)"),
            role=spec.role,
            priority=spec.priority,
            model_limits=spec.model_limits,
            previous_hash=item.status.previous_key_hash,
            previous_until=(
                item.status.previous_expires_at.timestamp() if item.status.previous_expires_at else 0.0
            ),
        )

    def allows(self, model: str) -> bool:
        """Whether the key may call `model`, a name from the catalogue (so the memory of this is bounded)."""
        known = self._allowed.get(model)
        if known is None:
            known = self._allowed[model] = self._pattern.match(model) is not None
        return known


@dataclass(frozen=True, slots=True)
class Keyring:
    """All keys by their hash; replaced as a whole, never changed."""

    keys: Mapping[str, Key] = field(default_factory=dict)

    @classmethod
    def of(cls, items: Iterable[APIKey]) -> "Keyring":
        """The keyring of these objects; of two with the same hash the first by name counts."""
        keys: dict[str, Key] = {}
        for item in sorted(items, key=lambda each: each.metadata.name):
            key = Key.of(item)
            if key is not None:
                keys.setdefault(key.key_hash, key)
        return cls(MappingProxyType(keys))


_NOBODY = "0" * 64


def authenticate(
    keyring: Keyring,
    authorization: bytes | None,
    api_key: bytes | None,
    now: Callable[[], float],
) -> Key:
    """The key that a request carries in `Authorization: Bearer` or `x-api-key`.

    Every token goes the same way: cut to a bound, hashed, looked up, compared. Raises the one 401.
    """
    token = b""
    if authorization is not None:
        scheme, _, rest = authorization.partition(b" ")
        if scheme.lower() == b"bearer":
            token = rest.strip()
    elif api_key is not None:
        token = api_key.strip()
    usable = 0 < len(token) <= LONGEST_KEY
    digest = sha256(token[:LONGEST_KEY]).hexdigest()
    key = keyring.keys.get(digest)
    same = hmac.compare_digest(digest, key.key_hash if key is not None else _NOBODY)
    if key is None or not same or not usable or key.disabled:
        raise invalid_api_key()
    if key.expires_at is not None and key.expires_at <= now():
        raise invalid_api_key()
    return key


def two_credentials() -> APIError:
    """400 for a request that carries more than one key: which one counts must not be a matter of order."""
    return APIError(
        400,
        "ambiguous_credentials",
        "The request carries more than one key. Send one Authorization or x-api-key header.",
    )
