"""Keys and their secrets."""

import hmac
from hashlib import sha256

import pytest

from slipway.gateway import auth
from slipway.gateway.auth import Key, Keyring, authenticate
from slipway.gateway.errors import APIError
from slipway.objects import APIKeySpec

HASHES = {plain: sha256(plain.encode()).hexdigest() for plain in ("sk-old", "sk-new")}


def ring(until: float) -> Keyring:
    return Keyring.holding([Key.made("k", APIKeySpec(), HASHES["sk-new"], HASHES["sk-old"], until)])


def who(keyring: Keyring, plain: bytes, now: float = 100.0) -> str:
    return authenticate(keyring, b"Bearer " + plain, None, lambda: now).name


def test_after_a_rotation_both_secrets_work_until_the_overlap_ends() -> None:
    keyring = ring(200.0)
    assert who(keyring, b"sk-new") == who(keyring, b"sk-old") == "k"
    assert who(keyring, b"sk-new", 200.0) == "k"
    with pytest.raises(APIError):
        who(keyring, b"sk-old", 200.0)


def test_a_key_is_listed_once_whatever_its_secrets() -> None:
    assert [key.name for key in ring(200.0).all()] == ["k"]


def test_of_two_keys_of_one_name_the_first_counts() -> None:
    declared = Key.made("k", APIKeySpec(owner="object"), "1" * 64)
    kept = Key.made("k", APIKeySpec(owner="database"), "2" * 64)
    keyring = Keyring.holding([declared, kept])
    assert [key.owner for key in keyring.all()] == ["object"]
    assert "2" * 64 not in keyring.keys


HOSTILE = [
    b"' OR 1=1 --",
    b"\0",
    b"x" * 10_000,
    "ключ".encode(),
    b"a.b.c",
    b"sk-",
    b"",
    b'"; DROP TABLE api_keys; --',
    b"sk-ne",
    b"sk-new2",
    b"\xff\xfe",
]


@pytest.mark.parametrize("token", HOSTILE)
def test_hostile_tokens_get_one_answer_by_one_way(token: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every bad token is hashed once and compared once, whatever it is."""
    work: list[str] = []
    real_compare = hmac.compare_digest

    def hashed(data: bytes) -> object:
        work.append("hash")
        return sha256(data)

    def compared(one: str, other: str) -> bool:
        work.append("compare")
        return real_compare(one, other)

    monkeypatch.setattr(auth, "sha256", hashed)
    monkeypatch.setattr(hmac, "compare_digest", compared)
    with pytest.raises(APIError) as told:
        authenticate(ring(0.0), b"Bearer " + token, None, lambda: 100.0)
    assert (told.value.status, told.value.code) == (401, "invalid_api_key")
    assert work == ["hash", "compare"]
