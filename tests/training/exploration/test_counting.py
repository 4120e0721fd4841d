"""Counts in memory that stays the same."""

import random
from collections import Counter

import pytest

from slipway.training.exploration.counting import Distinct, Lengths, Repeats, Tally


def test_lengths_are_exact_where_they_are_short() -> None:
    lengths = Lengths()
    for length in [*range(1, 101), 100]:
        lengths.add(length)
    assert (lengths.number, lengths.shortest, lengths.longest) == (101, 1, 100)
    assert lengths.mean == pytest.approx(5150 / 101)
    assert [lengths.quantile(share) for share in (0, 0.5, 1)] == [1, 51, 100]


def test_long_lengths_are_within_a_per_cent_and_few_numbers_are_kept() -> None:
    draw = random.Random(1)
    all_ = [int(draw.lognormvariate(8, 3)) for _ in range(20_000)]
    lengths = Lengths()
    for length in all_:
        lengths.add(length)
    assert lengths.total == sum(all_)
    assert lengths.longest == max(all_)
    assert len(lengths.counts) < 2500
    for share in (0.05, 0.5, 0.95, 0.99):
        exact = sorted(all_)[int(share * len(all_)) - 1]
        assert lengths.quantile(share) == pytest.approx(exact, rel=0.016)


def test_no_lengths_have_no_mean() -> None:
    assert (Lengths().mean, Lengths().quantile(0.5), Lengths().number) == (0, 0, 0)


def test_a_tally_is_exact_until_it_is_full() -> None:
    tally = Tally(10)
    tally.update(list("aabbbc"))
    tally.add("d", 4)
    assert tally.counts == {"a": 2, "b": 3, "c": 1, "d": 4}
    assert (tally.total, tally.other, tally.missed) == (10, 0, 0)


def test_a_full_tally_keeps_what_is_frequent_and_says_how_far_it_is_off() -> None:
    draw = random.Random(2)
    values = [f"w{int(draw.paretovariate(1)) % 100_000}" for _ in range(50_000)]
    exact = Counter(values)
    tally = Tally(500)
    for at in range(0, len(values), 50):
        tally.update(values[at : at + 50])
    assert len(tally.counts) <= 500
    assert tally.total == len(values)
    assert tally.counts.total() + tally.other == tally.total
    for value, count in exact.most_common(20):
        assert count - tally.missed <= tally.counts[value] <= count


@pytest.mark.parametrize("number", [0, 1, 1000, 100_000])
def test_different_things_are_estimated_within_a_few_per_cent(number: int) -> None:
    distinct = Distinct()
    for at in range(number):
        distinct.add(f"word{at}")
        distinct.add(f"word{at}")
    assert distinct.number == pytest.approx(number, rel=0.03)


def test_repeats_are_exact_while_all_fit() -> None:
    repeats = Repeats()
    for key, part, says in [(1, 0, 7), (1, 0, 7), (2, 0, 7), (2, 1, 7), (3, 0, 7), (3, 0, 8), (4, 2, 1)]:
        repeats.add(key, part, says)
    assert (repeats.again, repeats.across, repeats.contradicted, repeats.share) == (3, 1, 1, 1.0)


def test_repeats_of_more_than_fit_are_estimated_from_a_sample() -> None:
    draw = random.Random(3)
    repeats = Repeats(most=2_000)
    keys = [draw.getrandbits(64) for _ in range(30_000)]
    for at, key in enumerate(keys):
        repeats.add(key, 0, 1)
        if at % 3 == 0:
            repeats.add(key, at % 2, 1)
    assert 0 < repeats.share < 0.1
    assert repeats.again == pytest.approx(10_000, rel=0.15)
    assert repeats.across == pytest.approx(5_000, rel=0.2)
    assert repeats.contradicted == 0
