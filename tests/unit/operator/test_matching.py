"""An object matches what was asked for whatever else it holds, and does not once one wanted field differs."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_operator.children import revision_children, shared_children
from slipway_operator.matching import matches, stamped
from slipway_operator.names import DIGEST
from unit.operator.written import SETTINGS, llm_service, parsed

PARENT = llm_service(engine={"args": ["--a"], "env": {"A": "1", "B": "2"}})
MANIFESTS = [
    stamped(each)
    for each in (
        *shared_children(parsed(PARENT), SETTINGS, PARENT, frozenset({"podmonitors"})),
        *revision_children(parsed(PARENT), "abc", 2, SETTINGS, PARENT),
    )
]
NAMED = ("name", "mountPath", "containerPort", "port", "uid")


def with_defaults(value: Any, draw: Any) -> Any:
    """`value` as a server hands it out: more fields, more named items, in another order."""
    if isinstance(value, dict):
        more = {f"default{number}": number for number in range(draw(st.integers(0, 2)))}
        return {**more, **{name: with_defaults(each, draw) for name, each in value.items()}}
    if isinstance(value, list) and value:
        items = [with_defaults(each, draw) for each in value]
        name = next((n for n in NAMED if all(isinstance(each, dict) and n in each for each in value)), None)
        if name is not None:
            items += [{name: f"webhook{number}"} for number in range(draw(st.integers(0, 2)))]
            items = draw(st.permutations(items))
        return items
    return value


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each single value lies."""
    if isinstance(value, dict | list) and value:
        for name, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(each, (*path, name))
    elif value not in ({}, []):
        yield path


def changed(value: Any, path: tuple[Any, ...]) -> Any:
    value = copy.deepcopy(value)
    at = value
    for name in path[:-1]:
        at = at[name]
    old = at[path[-1]]
    at[path[-1]] = not old if isinstance(old, bool) else old + 1 if isinstance(old, int) else f"{old}-other"
    return value


@given(st.data(), st.sampled_from(MANIFESTS))
def test_what_a_server_adds_is_no_difference(data: st.DataObject, manifest: Any) -> None:
    assert matches(manifest, with_defaults(manifest, data.draw))


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_each_wanted_field_that_differs_or_is_missing_is_a_difference(manifest: Any) -> None:
    for path in leaves(manifest):
        assert not matches(manifest, changed(manifest, path)), path
        without = copy.deepcopy(manifest)
        at = without
        for name in path[:-1]:
            at = at[name]
        gone = at.pop(path[-1])
        assert not matches(manifest, without) or gone in (0, False, ""), path


def test_what_a_server_leaves_out_because_it_is_empty_is_no_difference() -> None:
    assert matches({"a": 0, "b": False, "c": "", "d": [], "e": {}}, {})
    assert not matches({"a": 1}, {})
    assert not matches({"d": ["x"]}, {})


def test_a_list_without_names_is_compared_in_its_order() -> None:
    assert not matches({"args": ["a", "b"]}, {"args": ["b", "a"]})
    assert not matches({"args": ["a"]}, {"args": ["a", "b"]})


def test_a_field_that_is_no_longer_wanted_is_a_difference() -> None:
    long, short = ({"metadata": {"name": "m"}, "spec": spec} for spec in ({"a": 1, "b": 2}, {"a": 1}))
    observed = stamped(long)
    assert matches(short, observed)
    assert not matches(stamped(short), observed)


def test_a_stamp_is_the_manifests_own() -> None:
    manifest = {"metadata": {"name": "m", "annotations": {"x": "y"}}}
    made = stamped(manifest)
    assert made["metadata"]["annotations"].keys() == {"x", DIGEST}
    assert manifest["metadata"]["annotations"] == {"x": "y"}
    assert stamped(manifest) == made
