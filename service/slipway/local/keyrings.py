"""The API keys of a state folder: made, rotated and revoked by command."""

import asyncio
import difflib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from pydantic import ValidationError

from slipway.local.applying import object_path, read_keys, write_object
from slipway.local.errors import LocalError
from slipway.local.folders import StateFolder
from slipway.local.following import observed
from slipway.local.keys import MANAGED_BY, expiry, utc_now
from slipway.local.probes import key_settled
from slipway.objects.apikeys import APIKey, APIKeySpec, APIKeyStatus, Limits, Priority, Role
from slipway.objects.loading import dotted
from slipway.objects.meta import Metadata
from slipway.objects.plainkeys import key_hash, new_key
from slipway.objects.sentences import sentence


class KeyRefusedError(LocalError):
    """A key cannot be made, rotated or revoked as asked."""


def create_key(
    state: StateFolder,
    name: str,
    expires_in: str | None,
    owner: str,
    models: Sequence[str],
    limits: Mapping[str, Any] | None = None,
    role: Role = "member",
    priority: Priority = "normal",
) -> tuple[APIKey, str]:
    """Make a key; the object that is kept and the plain key that is not.

    `limits` are those of an APIKey, by name, not yet checked; None or left out does not limit.
    Raises LocalError.
    """
    now = utc_now()
    plain = new_key()
    try:
        key = APIKey(
            metadata=Metadata(name=name),
            spec=APIKeySpec(
                owner=owner,
                role=role,
                models=tuple(models),
                priority=priority,
                limits=Limits.model_validate(limits or {}),
                expires_at=expiry(expires_in, now) if expires_in else None,
            ),
            status=APIKeyStatus(key_hash=key_hash(plain), created_at=now),
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raw = first.get("input")
        said = sentence(dict(first), str(raw) if isinstance(raw, str | int) else None)
        raise KeyRefusedError(f"{dotted(first['loc'])}: {said}.") from None
    except ValueError as error:
        raise KeyRefusedError(f"{error}.") from None
    state.create()
    with state.explained(), state.applying():
        if name in read_keys(state):
            raise KeyRefusedError(f"There is a key {name} already: choose another name, or revoke it first.")
        write_object(state, key)
    return key, plain


def rotate_key(state: StateFolder, name: str, overlap: str) -> tuple[APIKey, str]:
    """Give a key a new secret; the object that is kept and the plain key that is not.

    The one before works for `overlap` (such as 90m, 12h, 1d) on; "0": it ends at once. Raises LocalError.
    """
    now = utc_now()
    plain = new_key()
    try:
        until = None if overlap == "0" else expiry(overlap, now)
    except ValueError as error:
        raise KeyRefusedError(f"{error}.") from None
    key = _existing(state, name)
    with state.explained(), state.applying():
        managed = MANAGED_BY in key.metadata.annotations
        if managed and state.secret(f"apikey-{name}") is None:
            raise KeyRefusedError(f"The hash of {name} comes from its file: put the new key's hash there.")
        lasting = until is not None and key.status.key_hash is not None
        status = APIKeyStatus(
            key_hash=key_hash(plain),
            previous_key_hash=key.status.key_hash if lasting else None,
            previous_expires_at=until if lasting else None,
            created_at=key.status.created_at,
        )
        rotated = key.model_copy(update={"status": status})
        write_object(state, rotated)
        if managed:
            state.write_secret(f"apikey-{name}", plain)  # What `slipway up` makes the hash of.
    return rotated, plain


def await_gateway(state: StateFolder, plain: str) -> None:
    """Return when the gateway that runs by this state folder, if any, lets the key in."""
    gateway = observed(state)["gateway"]
    if gateway["state"] == "Ready":
        asyncio.run(key_settled(gateway["url"], plain, accepted=True))


def revoke_key(state: StateFolder, name: str) -> bool:
    """Remove a key; whether it came from a file. Raises LocalError."""
    key = _existing(state, name)
    with state.explained(), state.applying():
        object_path(state, key).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            (state.secrets / f"apikey-{name}").unlink()
    return MANAGED_BY in key.metadata.annotations


def _existing(state: StateFolder, name: str) -> APIKey:
    keys = read_keys(state)
    if name not in keys:
        close = difflib.get_close_matches(name, keys, n=1)
        mend = f"did you mean {close[0]}?" if close else "`slipway key list` shows those that there are."
        raise KeyRefusedError(f"There is no key {name}; {mend}")
    return keys[name]


def state_of_key(key: APIKey) -> Literal["active", "disabled", "expired"]:
    """Whether the gateway lets the key in."""
    if key.spec.disabled:
        return "disabled"
    expired = key.spec.expires_at is not None and key.spec.expires_at <= utc_now()
    return "expired" if expired else "active"
