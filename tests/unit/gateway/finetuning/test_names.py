"""Names of fine-tuned models, and whose they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from slipway.gateway.auth import Key
from slipway.gateway.finetuning.names import model_name, owner_part, tuned
from slipway.objects import APIKeySpec
from slipway.objects.llmservices import ServedName

OWNERS = st.text(min_size=1, max_size=60)
JOB = "ftjob-0123456789abcdef01234567"


@given(OWNERS, OWNERS)
def test_two_owners_are_never_one(one: str, other: str) -> None:
    # One may be named as the other is written; then it is not itself what needed a digest.
    if one != other and owner_part(one) == owner_part(other):
        assert one == owner_part(other) or other == owner_part(one)


@given(OWNERS, st.sampled_from(["smollm", "org/name:v1", "a:b:c"]), st.sampled_from([None, "tone", "v1.2"]))
def test_a_name_is_one_that_can_be_served_and_says_base_and_owner(
    owner: str, base: str, suffix: str | None
) -> None:
    name = model_name(base, owner, suffix, JOB)
    TypeAdapter(ServedName).validate_python(name)
    found = tuned(name)
    assert found is not None
    assert (found.base, found.owner) == (base, owner_part(owner))


@pytest.mark.parametrize("name", ["smollm", "ft:", "ft:a:b:c", "ft:a:b:c:nothex00", "ft:a:b:01234567"])
def test_other_names_say_nothing(name: str) -> None:
    assert tuned(name) is None


def key(owner: str = "me", role: str = "member", models: tuple[str, ...] = ("*",)) -> Key:
    spec = APIKeySpec.model_validate({"owner": owner, "role": role, "models": models})
    return Key.made("k", spec, "0" * 64)


def test_what_was_tuned_is_its_owners_and_admins() -> None:
    name = model_name("smollm", "me@example.com", "x", JOB)
    assert key("me@example.com").allows(name)
    assert key("me@example.com", models=("smollm",)).allows(name)
    assert key("me@example.com", models=("ft:*",)).allows(name)
    assert not key("me@example.com", models=("other",)).allows(name)
    assert not key("you").allows(name)
    assert not key("me").allows(name)
    assert key("root", role="admin").allows(name)
    assert not key("root", role="admin", models=("smollm",)).allows(name)


def test_a_name_that_only_looks_alike_is_any_model() -> None:
    assert key("you").allows("ft:mine")
