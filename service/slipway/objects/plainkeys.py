"""Plain keys: made at random, kept as their hash."""

import hashlib
import secrets


def new_key() -> str:
    """A new plain key: 256 random bits."""
    return f"sk-slipway-{secrets.token_urlsafe(32)}"


def key_hash(key: str) -> str:
    """What is kept of a key, and what the gateway looks it up by: SHA-256 in hex."""
    return hashlib.sha256(key.encode()).hexdigest()
