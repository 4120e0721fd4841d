"""Bounds for regular expressions."""

import pytest

from slipway.gateway.patterns import problem, repetitions


@pytest.mark.parametrize(
    ("pattern", "copies"),
    [
        ("[a-z]+", 1),
        (r"\d{4}-\d{2}-\d{2}", 8),
        (r"\d{1,3}(\.\d{1,3}){3}", 18),
        ("a{2,}", 2),
        ("(a{100}){100}", 10_000),
        ("((a|b){9}){9}", 81),
        ("a{0}", 1),
        ("no {counts} here", 1),
    ],
)
def test_counts_add_up_and_those_of_groups_multiply(pattern: str, copies: int) -> None:
    assert repetitions(pattern) == copies


def test_a_pattern_is_refused_for_its_length_or_its_repetitions() -> None:
    assert problem("a{256}", 512, 256) is None
    assert "repeats" in (problem("a{257}", 512, 256) or "")
    assert "512 characters" in (problem("a" * 513, 512, 256) or "")
