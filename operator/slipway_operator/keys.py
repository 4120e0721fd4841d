"""What an APIKey asks of the cluster: a Secret with the plain key, once, and its hash in the status. Pure.

The Secret is written before the status. Killed in between, the operator finds the Secret and takes the hash
from it, so a key that somebody may have read already is the one that works.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slipway.objects import APIKey
from slipway.objects.annotations import ROTATE_KEY
from slipway.objects.plainkeys import key_hash
from slipway_operator import names
from slipway_operator.histories import time_text
from slipway_operator.rollouts import Event
from slipway_operator.statuses import condition


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """What is to be done, the Secret first."""

    secret: dict[str, Any] | None
    status: Mapping[str, Any]
    events: tuple[Event, ...] = ()
    again_after: float | None = None


def secret_name(key: str) -> str:
    """Of the Secret with the plain key."""
    return f"apikey-{key}"


def plan_key(
    key: APIKey,
    parent: Mapping[str, Any],
    secret: Mapping[str, Any] | None,
    now: float,
    new_key: Callable[[], str],
) -> KeyPlan:
    """The next step for `key`, parsed from `parent`; `secret` is its Secret, if there is one."""
    before: Mapping[str, Any] = parent.get("status") or {}
    metadata = parent["metadata"]
    asked = key.rotation or ""
    known = key.status.key_hash
    rotates = known is not None and asked != ""
    status: dict[str, Any] = dict(before)
    events: list[Event] = []
    written = None
    if known is None or rotates:
        held = _held(secret)
        fresh = held is None or (rotates and _rotation_of(secret) != asked)
        if fresh:
            plain = new_key()
            written = _secret(parent, plain, asked)
        else:
            plain = held or ""
        status["keyHash"] = key_hash(plain)
        status["rotatedAt" if rotates else "createdAt"] = time_text(now)
        status["secretName"] = _name(parent)
        if asked:
            status["handledRotation"] = asked
        if rotates:
            status["previousKeyHash"] = known
            status["previousExpiresAt"] = time_text(now + key.rotation_overlap.seconds)
            events.append(
                Event(
                    "Normal",
                    "Rotated",
                    f"A new key is in the Secret {_name(parent)}; the one before works until "
                    f"{status['previousExpiresAt']}.",
                )
            )
        else:
            events.append(Event("Normal", "Created", f"The key is in the Secret {_name(parent)}."))
    status["observedGeneration"] = int(metadata.get("generation", 0))
    said, again_after = _state(key, parent, status, now)
    status["conditions"] = [
        condition(before.get("conditions") or (), said, status["observedGeneration"], now)
    ]
    return KeyPlan(written, status, tuple(events), again_after)


def _state(
    key: APIKey, parent: Mapping[str, Any], status: dict[str, Any], now: float
) -> tuple[tuple[str, str, str, str], float | None]:
    """The condition Ready, and when time alone will change something."""
    ends: list[float] = []
    previous = status.get("previousExpiresAt")
    if previous is not None:
        at = datetime.fromisoformat(previous).timestamp()
        if at <= now:
            status.pop("previousExpiresAt")
            status.pop("previousKeyHash", None)
        else:
            ends.append(at - now)
    expires = key.spec.expires_at
    if expires is not None and expires.timestamp() > now:
        ends.append(expires.timestamp() - now)
    again = min(ends, default=None)
    if key.spec.disabled:
        return ("Ready", "False", "Disabled", "The key is refused: spec.disabled is true."), again
    if expires is not None and expires.timestamp() <= now:
        text = f"The key has expired ({expires.isoformat()}): set spec.expiresAt to a later time."
        return ("Ready", "False", "Expired", text), again
    text = f"The key works; it is in the Secret {_name(parent)} unless that was deleted."
    return ("Ready", "True", "Active", text), again


def _name(parent: Mapping[str, Any]) -> str:
    return secret_name(parent["metadata"]["name"])


def _held(secret: Mapping[str, Any] | None) -> str | None:
    try:
        return base64.b64decode(secret["data"]["key"]).decode() if secret is not None else None
    except (KeyError, TypeError, ValueError):
        return None


def _rotation_of(secret: Mapping[str, Any] | None) -> str:
    annotations = (secret or {}).get("metadata", {}).get("annotations") or {}
    return str(annotations.get(ROTATE_KEY, ""))


def _secret(parent: Mapping[str, Any], plain: str, rotation: str) -> dict[str, Any]:
    metadata = parent["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret_name(metadata["name"]),
            "namespace": metadata["namespace"],
            "labels": {names.MANAGED_BY: names.MANAGER, names.API_KEY: metadata["name"]},
            "annotations": {ROTATE_KEY: rotation},
            "ownerReferences": [names.owner(parent)],
        },
        "type": "Opaque",
        "data": {"key": base64.b64encode(plain.encode()).decode()},
    }
