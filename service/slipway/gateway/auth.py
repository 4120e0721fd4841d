"""Who calls: the key's SHA-256 looked up in memory. No I/O, one answer for every key that is not good."""

import fnmatch
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Literal

from slipway.gateway.errors import APIError, invalid_api_key
from slipway.gateway.finetuning.names import owner_part, tuned
from slipway.objects import APIKey, APIKeySpec, Limits, ModelLimits, Priority, Role

LONGEST_KEY = 512
"""Bytes of a key that are worth hashing; Slipway's own have 50."""


@lru_cache(4096)  # Most keys share their globs.
def _pattern_of(globs: tuple[str, ...]) -> "re.Pattern[str]":
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs) or r"(?!)")


@dataclass(frozen=True, slots=True)
class Key:
    """A key as the hot path needs it: the object's name stands for it everywhere, never the key."""

    name: str
    """Unique; on a cluster `NAMESPACE.NAME`, which splits at the first dot as namespaces hold none."""
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
    models: tuple[str, ...] = ("*",)
    """Globs over the served names."""
    ends: datetime | None = None
    """`expires_at` as it was written."""
    kind: Literal["key", "oidc"] = "key"
    """How its holder came in."""
    declared: bool = True
    """It comes from an object, and is changed there; otherwise from the database."""
    makers: "tuple[Key, ...]" = field(default=(), compare=False, repr=False)
    """For a key that a member made: that member's key, the one it was made with, and so on; what is used
    counts for them too."""
    subjects: dict[str, tuple[Any, tuple[Any, ...]]] = field(default_factory=dict, compare=False, repr=False)
    """What `limits.subjects_of` remembers, by model."""
    _allowed: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, item: APIKey, namespace: str = "") -> "Key | None":
        """Read an APIKey object of a cluster's namespace, or of none; None if it has no hash yet."""
        status = item.status
        if status.key_hash is None:
            return None
        until = status.previous_expires_at
        return cls.made(
            f"{namespace}.{item.metadata.name}" if namespace else item.metadata.name,
            item.spec,
            status.key_hash,
            status.previous_key_hash,
            until.timestamp() if until is not None else 0.0,
        )

    @classmethod
    def made(
        cls,
        name: str,
        spec: APIKeySpec,
        key_hash: str,
        previous_hash: str | None = None,
        previous_until: float = 0.0,
        *,
        kind: Literal["key", "oidc"] = "key",
        declared: bool = True,
        makers: "tuple[Key, ...]" = (),
    ) -> "Key":
        """A key of this spec; `previous_until` is in seconds since 1970."""
        return cls(
            name=name,
            owner=spec.owner,
            key_hash=key_hash,
            limits=spec.limits,
            disabled=spec.disabled,
            expires_at=spec.expires_at.timestamp() if spec.expires_at is not None else None,
            _pattern=_pattern_of(spec.models),
            role=spec.role,
            priority=spec.priority,
            model_limits=spec.model_limits,
            previous_hash=previous_hash,
            previous_until=previous_until,
            models=spec.models,
            ends=spec.expires_at,
            kind=kind,
            declared=declared,
            makers=makers,
        )

    def allows(self, model: str) -> bool:
        """Whether the key may call `model`, a name from the catalogue (so the memory of this is bounded)."""
        known = self._allowed.get(model)
        if known is None:
            known = self._allowed[model] = self._may_call(model)
        return known

    def _may_call(self, model: str) -> bool:
        """What was fine-tuned is its owner's: as its base model, and not for other owners' keys."""
        named = self._pattern.match(model) is not None
        made = tuned(model)
        if made is None or self.role == "admin":
            return named
        return made.owner == owner_part(self.owner) and (named or self._pattern.match(made.base) is not None)


@dataclass(frozen=True, slots=True)
class Keyring:
    """All keys by their hash; replaced as a whole, never changed."""

    keys: Mapping[str, Key] = field(default_factory=dict)

    @classmethod
    def of(cls, items: Iterable[APIKey]) -> "Keyring":
        """The keyring of these objects; of two with the same hash the first by name counts."""
        made = (Key.of(item) for item in sorted(items, key=lambda each: each.metadata.name))
        return cls.holding(key for key in made if key is not None)

    @classmethod
    def holding(cls, keys: Iterable[Key]) -> "Keyring":
        """The keyring of these keys; of two with the same hash or name the first counts."""
        found: dict[str, Key] = {}
        names: set[str] = set()
        for key in keys:
            if key.name in names:
                continue
            names.add(key.name)
            found.setdefault(key.key_hash, key)
            if key.previous_hash is not None:
                found.setdefault(key.previous_hash, key)
        return cls(MappingProxyType(found))

    def all(self) -> list[Key]:
        """Every key once, by name."""
        return sorted({key.name: key for key in self.keys.values()}.values(), key=lambda key: key.name)

    def named(self, name: str) -> Key | None:
        """The key of this name."""
        return next((key for key in self.keys.values() if key.name == name), None)


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
    if key is not None and not same and key.previous_until > now():
        same = hmac.compare_digest(digest, key.previous_hash or _NOBODY)
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
