"""Ids of what the gateway makes."""

import os


def new_id(kind: str) -> str:
    """`kind` and 128 random bits."""
    return f"{kind}_{os.urandom(16).hex()}"
