"""Objects in the state folder: written as a file asks for, pruned, read back."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from slipway.local.applying import KeyClashError, apply, as_yaml, read_keys, read_services
from slipway.local.folders import StateFolder
from slipway.local.keyrings import create_key
from slipway.objects.loading import Loaded, load
from slipway.objects.plainkeys import key_hash

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


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_written_is_read_back_the_same(state: StateFolder) -> None:
    loaded = objects(SERVICE, KEY)
    apply(state, loaded, NOW)
    service = read_services(state)["a"]
    assert service == loaded.services[0]
    assert service.revision == loaded.services[0].revision
    assert load(as_yaml(service).encode(), "x").services == (service,)


def test_a_plain_key_is_made_once_and_kept_apart_from_its_hash(state: StateFolder) -> None:
    first = apply(state, objects(SERVICE, KEY), NOW)
    second = apply(state, objects(SERVICE, KEY.replace("5}", "6}")), NOW + timedelta(days=1))
    assert first.api_key is not None
    assert first.api_key == second.api_key
    assert second.sequence == first.sequence + 1
    kept = read_keys(state)["key"]
    assert kept.status.key_hash == key_hash(first.api_key)
    assert kept.status.created_at == NOW
    assert kept.spec.limits.requests_per_minute == 6
    assert first.api_key not in (state.objects / f"apikey-{kept.metadata.name}.yaml").read_text()
    assert mode(state.secrets / f"apikey-{kept.metadata.name}") == 0o600
    assert mode(state.secrets) == mode(state.root) == 0o700


def test_a_file_without_keys_gets_one(state: StateFolder) -> None:
    applied = apply(state, objects(SERVICE), NOW)
    assert applied.api_key is not None
    assert list(read_keys(state)) == ["local"]
    assert list(read_keys(state)["local"].spec.models) == ["*"]


def test_what_left_the_file_goes_and_what_the_command_made_stays(state: StateFolder) -> None:
    apply(state, objects(SERVICE, named("one"), named("two")), NOW)
    made, plain = create_key(state, "ci", None, "me", ["*"])
    apply(state, objects(SERVICE.replace("name: a", "name: c"), named("two")), NOW)
    assert sorted(read_keys(state)) == ["ci", "two"]
    assert sorted(read_services(state)) == ["c"]
    assert state.secret("apikey-one") is None
    assert read_keys(state)["ci"] == made
    assert plain not in "".join(path.read_text() for path in state.root.rglob("*") if path.is_file())


def test_a_file_does_not_take_over_a_key_of_the_command(state: StateFolder) -> None:
    create_key(state, "ci", None, "me", ["*"])
    with pytest.raises(KeyClashError, match="slipway key revoke ci"):
        apply(state, objects(SERVICE, named("ci")), NOW)
    assert read_services(state) == {}


def test_a_hash_in_the_file_is_kept_and_no_plain_key_is_invented(state: StateFolder) -> None:
    given = named("own").replace("---\n", f"status: {{keyHash: {'a' * 64}}}\n---\n")
    assert apply(state, objects(given), NOW).api_key is None
    assert read_keys(state)["own"].status.key_hash == "a" * 64
    assert state.secret("apikey-own") is None


def test_a_disabled_key_is_not_shown(state: StateFolder) -> None:
    off = named("closed").replace("owner: me", "disabled: true")
    applied = apply(state, objects(off, named("open")), NOW)
    assert applied.api_key == state.secret("apikey-open")
