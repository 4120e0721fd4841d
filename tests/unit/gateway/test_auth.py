"""Keys: the same 401 for every token that is not good, no identity shared, globs."""

from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.gateway.auth import LONGEST_KEY, Key, Keyring, authenticate
from slipway.gateway.errors import APIError
from slipway.gateway.requests import read_head
from slipway.objects import APIKey

NOW = 1_800_000_000.0


def make(name: str, token: str, **spec: object) -> APIKey:
    return APIKey.model_validate(
        {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "APIKey",
            "metadata": {"name": name},
            "spec": spec,
            "status": {"keyHash": sha256(token.encode()).hexdigest()},
        }
    )


def who(keyring: Keyring, authorization: bytes | None = None, api_key: bytes | None = None) -> Key:
    return authenticate(keyring, authorization, api_key, lambda: NOW)


RING = Keyring.of([make("one", "sk-aaaaaaaaaaaaaaaaaaaaaaaa1"), make("two", "sk-aaaaaaaaaaaaaaaaaaaaaaaa2")])


def test_keys_with_a_common_prefix_are_told_apart() -> None:
    assert who(RING, b"Bearer sk-aaaaaaaaaaaaaaaaaaaaaaaa1").name == "one"
    assert who(RING, b"bearer  sk-aaaaaaaaaaaaaaaaaaaaaaaa2 ").name == "two"
    assert who(RING, None, b"sk-aaaaaaaaaaaaaaaaaaaaaaaa2").name == "two"


HOSTILE = [
    None,
    b"",
    b"Bearer",
    b"Bearer ",
    b"Basic sk-aaaaaaaaaaaaaaaaaaaaaaaa1",
    b"sk-aaaaaaaaaaaaaaaaaaaaaaaa1",
    b"Bearer sk-aaaaaaaaaaaaaaaaaaaaaaaa",
    b"Bearer sk-aaaaaaaaaaaaaaaaaaaaaaaa1x",
    b"Bearer ' OR 1=1 --",
    b"Bearer \x00",
    b"Bearer sk-aaaaaaaaaaaaaaaaaaaaaaaa1\x00",
    b"Bearer " + b"x" * 10_000,
    "Bearer schlüssel".encode(),
    b"Bearer \xff\xfe",
    b"Bearer " + sha256(b"sk-aaaaaaaaaaaaaaaaaaaaaaaa1").hexdigest().encode(),
]


def refused(authorization: bytes | None, keyring: Keyring = RING) -> bytes:
    with pytest.raises(APIError) as caught:
        who(keyring, authorization)
    assert caught.value.status == 401
    return caught.value.body()


def test_a_longer_token_that_begins_with_a_key_is_not_that_key() -> None:
    longest = "k" * LONGEST_KEY
    ring = Keyring.of([make("long", longest)])
    assert who(ring, b"Bearer " + longest.encode()).name == "long"
    refused(b"Bearer " + longest.encode() + b"x", ring)


def test_every_bad_token_gets_the_same_answer() -> None:
    assert len({refused(token) for token in HOSTILE}) == 1


@given(st.binary(max_size=600))
def test_no_token_opens_anything_by_chance(token: bytes) -> None:
    refused(b"Bearer " + token)


@pytest.mark.parametrize(
    "spec", [{"disabled": True}, {"expiresAt": datetime.fromtimestamp(NOW, UTC).isoformat()}]
)
def test_a_disabled_or_expired_key_is_as_good_as_none(spec: dict[str, object]) -> None:
    assert refused(b"Bearer sk-x", Keyring.of([make("k", "sk-x", **spec)])) == refused(b"Bearer no")


def test_a_key_works_until_it_expires() -> None:
    later = datetime.fromtimestamp(NOW + 1, UTC).isoformat()
    assert who(Keyring.of([make("k", "sk-x", expiresAt=later)]), b"Bearer sk-x").name == "k"


@pytest.mark.parametrize(
    ("globs", "allowed", "others"),
    [
        (["*"], ["a", "b/c"], []),
        (["smol*"], ["smol", "smol2"], ["a-smol", "Smol"]),
        (["a", "b-?"], ["a", "b-1"], ["aa", "b-12"]),
        ([], [], ["a"]),
        (["a.c"], ["a.c"], ["abc"]),
        (["a\n"], [], ["a"]),
    ],
)
def test_globs(globs: list[str], allowed: list[str], others: list[str]) -> None:
    key = Key.of(make("k", "sk-x", models=globs))
    assert key is not None
    assert [name for name in [*allowed, *others] if key.allows(name)] == allowed


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")],
        [(b"authorization", b"Bearer a"), (b"x-api-key", b"a")],
        [(b"x-api-key", b"a"), (b"x-api-key", b"a")],
        [(b"x-api-key", b"a"), (b"authorization", b"Bearer a"), (b"x-api-key", b"a")],
    ],
)
def test_two_credentials_are_refused_whatever_they_hold(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(APIError) as caught:
        read_head(headers).check_credentials()
    assert caught.value.status == 400


def test_a_key_without_a_hash_is_no_key() -> None:
    fields = make("k", "sk-x").model_dump(by_alias=True) | {"status": {}}
    assert not Keyring.of([APIKey.model_validate(fields)]).keys
