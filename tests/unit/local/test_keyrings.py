"""API keys made and revoked by command."""

from datetime import UTC, datetime, timedelta

import pytest

from slipway.local.applying import read_keys
from slipway.local.errors import LocalError
from slipway.local.folders import StateFolder
from slipway.local.keyrings import create_key, revoke_key, state_of_key
from slipway.local.keys import expiry, key_hash, new_key
from slipway.objects.loading import Loaded, load

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SERVICE = """
apiVersion: slipway.dev/v1alpha1
kind: LLMService
metadata: {name: a, labels: {team: x}}
spec:
  model: {source: "hf://x/y", task: embed}
  engine: {env: {A: "ü: 1"}, args: ["--x=[1]"], maxModelLen: 16}
  adapters: [{name: b, source: "s3://x/y"}]
---
"""
KEY = """
apiVersion: slipway.dev/v1alpha1
kind: APIKey
metadata: {name: key}
spec: {owner: me, limits: {requestsPerMinute: 5}}
---
"""


def objects(*texts: str) -> Loaded:
    return load("".join(texts).encode(), "f.yaml")


def named(name: str) -> str:
    return KEY.replace("name: key", f"name: {name}")


def test_keys_are_made_and_revoked_by_command(state: StateFolder) -> None:
    key, plain = create_key(state, "ci", "30d", "team", ["small*"], {"max_parallel": 7})
    assert plain.startswith("sk-slipway-")
    assert key.status.key_hash == key_hash(plain)
    assert key.spec.limits.max_parallel == 7
    assert state_of_key(key) == "active"
    for name, expires_in, said in (
        ("ci", None, "There is a key ci already"),
        ("No", None, "name: `No` is not a name"),
        ("x", "soon", "'soon' is not a length of time"),
    ):
        with pytest.raises(LocalError, match=said):
            create_key(state, name, expires_in, "team", ["*"])
    with pytest.raises(LocalError, match=r"did you mean ci\?"):
        revoke_key(state, "cii")
    assert revoke_key(state, "ci") is False
    assert read_keys(state) == {}


@pytest.mark.parametrize(("text", "days"), [("30d", 30), ("48h", 2), ("1440m", 1), ("2w", 14)])
def test_lengths_of_time(text: str, days: int) -> None:
    assert expiry(text, NOW) == NOW + timedelta(days=days)


@pytest.mark.parametrize("text", ["", "d", "0d", "-1d", "1y", "1.5d", "99999999w", "d1"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="such as 30d"):
        expiry(text, NOW)


def test_no_two_keys_are_alike() -> None:
    assert len({new_key() for _ in range(100)}) == 100
