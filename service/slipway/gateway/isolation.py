"""Prefix caches kept apart: how fast an answer begins tells nothing of what others have asked.

An engine reuses what it computed for a prompt's beginning. Where everybody shares that, a request that is
answered sooner than it should be reveals that somebody asked the same before (CVE-2025-46570). A salt in
front of the prompt's hash parts the caches.
"""

import hmac
from hashlib import sha256
from typing import Literal

Isolation = Literal["off", "owner", "key"]


def cache_salt(isolation: Isolation, secret: bytes, owner: str, key: str, own: object) -> str | None:
    """The salt for a request, None for none; `own` is the client's, which parts its owner's cache further.

    Keyed with a secret of the gateways, so that nobody can name another's.
    """
    if isolation == "off":
        return own if isinstance(own, str) else None
    who = f"owner\0{owner}" if isolation == "owner" else f"key\0{owner}\0{key}"
    message = f"{who}\0{own if isinstance(own, str) else ''}".encode()
    return hmac.new(secret, message, sha256).hexdigest()
