"""API keys made, rotated and revoked by command."""

from datetime import UTC, datetime, timedelta

import pytest

from slipway.gateway.auth import Key, Keyring, authenticate
from slipway.gateway.errors import APIError
from slipway.local.applying import apply, read_keys
from slipway.local.errors import LocalError
from slipway.local.folders import StateFolder
from slipway.local.keyrings import create_key, revoke_key, rotate_key, state_of_key
from slipway.local.keys import expiry, utc_now
from slipway.objects.loading import Loaded, load
from slipway.objects.plainkeys import key_hash, new_key

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


def let_in(state: StateFolder, plain: str, after: timedelta = timedelta()) -> bool:
    """Whether the gateway lets a key in, so long after now."""
    now = (datetime.now(UTC) + after).timestamp()
    try:
        return isinstance(
            authenticate(Keyring.of(read_keys(state).values()), None, plain.encode(), lambda: now), Key
        )
    except APIError:
        return False


def test_both_secrets_of_a_rotated_key_work_until_the_overlap_ends(state: StateFolder) -> None:
    made, old = create_key(state, "ci", None, "team", ["*"], {"max_parallel": 7})
    rotated, new = rotate_key(state, "ci", "12h")
    assert (rotated.spec, rotated.status.created_at) == (made.spec, made.status.created_at)
    assert [let_in(state, each) for each in (old, new)] == [True, True]
    assert [let_in(state, each, timedelta(hours=13)) for each in (old, new)] == [False, True]
    _, newest = rotate_key(state, "ci", "12h")
    assert [let_in(state, each) for each in (old, new, newest)] == [False, True, True]
    _, last = rotate_key(state, "ci", "0")
    assert [let_in(state, each) for each in (newest, last)] == [False, True]
    for overlap in ("soon", "", "999999w"):
        with pytest.raises(LocalError, match=r"length of time|too long"):
            rotate_key(state, "ci", overlap)
    with pytest.raises(LocalError, match=r"did you mean ci\?"):
        rotate_key(state, "cii", "1d")


def test_a_files_key_stays_rotated_when_the_file_is_applied_again(state: StateFolder) -> None:
    old = apply(state, objects(SERVICE, KEY), utc_now()).api_key
    assert old is not None
    _, new = rotate_key(state, "key", "1d")
    assert apply(state, objects(SERVICE, KEY), utc_now()).api_key == new
    assert [let_in(state, each) for each in (old, new)] == [True, True]


def test_a_key_whose_hash_its_file_brings_is_rotated_there(state: StateFolder) -> None:
    own = KEY.replace("---", f"status: {{keyHash: {key_hash('sk-mine')}}}\n---")
    apply(state, objects(SERVICE, own), utc_now())
    with pytest.raises(LocalError, match="comes from its file"):
        rotate_key(state, "key", "1d")
    assert let_in(state, "sk-mine")


@pytest.mark.parametrize(("text", "days"), [("30d", 30), ("48h", 2), ("1440m", 1), ("2w", 14)])
def test_lengths_of_time(text: str, days: int) -> None:
    assert expiry(text, NOW) == NOW + timedelta(days=days)


@pytest.mark.parametrize("text", ["", "d", "0d", "-1d", "1y", "1.5d", "99999999w", "d1", "999999w"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as 30d|too long"):
        expiry(text, NOW)


def test_no_two_keys_are_alike() -> None:
    assert len({new_key() for _ in range(100)}) == 100
