"""Prefix caches kept apart."""

from slipway.gateway.isolation import cache_salt

SECRET = b"engine-key"


def test_off_leaves_the_clients_salt_alone() -> None:
    assert cache_salt("off", SECRET, "a", "k", None) is None
    assert cache_salt("off", SECRET, "a", "k", "mine") == "mine"


def test_owners_and_keys_are_parted() -> None:
    assert cache_salt("owner", SECRET, "a", "k1", None) == cache_salt("owner", SECRET, "a", "k2", None)
    assert cache_salt("owner", SECRET, "a", "k", None) != cache_salt("owner", SECRET, "b", "k", None)
    assert cache_salt("key", SECRET, "a", "k1", None) != cache_salt("key", SECRET, "a", "k2", None)


def test_no_salt_of_a_client_reaches_into_anothers_cache() -> None:
    theirs = cache_salt("owner", SECRET, "b", "k", None)
    for attempt in (theirs, "owner\0b", "\0b", "b\0", ""):
        assert cache_salt("owner", SECRET, "a", "k", attempt) != theirs
    assert cache_salt("owner", SECRET, "a", "k", "x") != cache_salt("owner", SECRET, "a", "k", "y")
    assert cache_salt("key", SECRET, "a", "b", None) != cache_salt("key", SECRET, "a\0b", "", None)


def test_nobody_without_the_secret_can_name_a_salt() -> None:
    assert cache_salt("owner", SECRET, "a", "k", None) != cache_salt("owner", b"other", "a", "k", None)
