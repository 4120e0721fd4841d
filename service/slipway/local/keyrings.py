"""The API keys of a state folder: made and revoked by command."""

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
from slipway.local.keys import MANAGED_BY, expiry, key_hash, new_key, utc_now
from slipway.local.probes import key_settled
from slipway.objects.apikeys import APIKey, APIKeySpec, APIKeyStatus, Limits
from slipway.objects.loading import dotted
from slipway.objects.meta import Metadata
from slipway.objects.sentences import sentence


class KeyRefusedError(LocalError):
    """A key cannot be made or revoked as asked."""


def create_key(
    state: StateFolder,
    name: str,
    expires_in: str | None,
    owner: str,
    models: Sequence[str],
    limits: Mapping[str, Any] | None = None,
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
                models=tuple(models),
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


def await_gateway(state: StateFolder, plain: str) -> None:
    """Return when the gateway that runs by this state folder, if any, lets the key in."""
    gateway = observed(state)["gateway"]
    if gateway["state"] == "Ready":
        asyncio.run(key_settled(gateway["url"], plain, accepted=True))


def revoke_key(state: StateFolder, name: str) -> bool:
    """Remove a key; whether it came from a file. Raises LocalError."""
    keys = read_keys(state)
    if name not in keys:
        close = difflib.get_close_matches(name, keys, n=1)
        mend = f"did you mean {close[0]}?" if close else "`slipway key list` shows those that there are."
        raise KeyRefusedError(f"There is no key {name}; {mend}")
    with state.explained(), state.applying():
        object_path(state, keys[name]).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            (state.secrets / f"apikey-{name}").unlink()
    return MANAGED_BY in keys[name].metadata.annotations


def state_of_key(key: APIKey) -> Literal["active", "disabled", "expired"]:
    """Whether the gateway lets the key in."""
    if key.spec.disabled:
        return "disabled"
    expired = key.spec.expires_at is not None and key.spec.expires_at <= utc_now()
    return "expired" if expired else "active"
