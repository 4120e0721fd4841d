"""Intervals and tests beside scipy's and sacrebleu's."""

import random

import numpy as np
import pytest
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest
from scipy import stats

from slipway.training.evaluation import intervals
from slipway.training.evaluation.measures import mean
from slipway.training.evaluation.metrics import METRICS
from training.evaluation.rows import scored, written


def test_the_interval_of_a_mean_is_scipys_bootstrap() -> None:
    rows = np.random.default_rng(0).normal(3, 2, size=200)
    ours = intervals.score(mean(rows), count=4000)
    theirs = stats.bootstrap(
        (rows,), np.mean, method="percentile", n_resamples=4000, rng=1
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)
    assert ours.low < ours.value < ours.high


def test_the_same_seed_gives_the_same_interval() -> None:
    measure = METRICS["f1_macro"].measure(scored(60, ("a", "b", "c")))
    assert intervals.score(measure, 200, seed=7) == intervals.score(measure, 200, seed=7)
    assert intervals.score(measure, 200, seed=7) != intervals.score(measure, 200, seed=8)


def test_resamples_of_many_rows_come_in_parts() -> None:
    parts = list(intervals.resamples(500_000, 10))
    assert [len(part) for part in parts] == [4, 4, 2]
    assert all((part.sum(axis=1) == 500_000).all() for part in parts)


def test_right_and_wrong_rows_are_compared_by_mcnemars_test() -> None:
    ours, theirs = mean([1] * 9 + [0] + [1] * 20), mean([0] * 9 + [1] + [1] * 20)
    found = intervals.compare(ours, theirs)
    assert found.test == "McNemar, exact"
    assert found.p == pytest.approx(2 * stats.binom.cdf(1, 10, 0.5))
    assert found.difference == pytest.approx(8 / 30)
    assert found.low < 8 / 30 < found.high


def test_a_model_does_not_differ_from_itself() -> None:
    rows = written([("a b c d", "a b c e"), ("x y", "x y"), ("", "q")])
    for name in ("exact_match", "bleu", "rougeL"):
        measure = METRICS[name].measure(rows)
        assert intervals.compare(measure, measure).p == 1.0


def test_the_paired_bootstrap_is_sacrebleus() -> None:
    draw = random.Random(3)
    words = [f"w{number}" for number in range(30)]
    references = [" ".join(draw.choices(words, k=12)) for _ in range(60)]

    def system(share: float) -> list[str]:
        return [
            " ".join(word if draw.random() < share else draw.choice(words) for word in reference.split())
            for reference in references
        ]

    one, other = system(0.7), system(0.7)
    test = PairedTest([("other", other), ("one", one)], {"BLEU": BLEU()}, [references], "bs", 2000)
    theirs = test()[1]["BLEU"][1]
    measures = [
        METRICS["bleu"].measure(written(list(zip(each, references, strict=True)))) for each in (one, other)
    ]
    ours = intervals.compare(measures[0], measures[1], count=2000)
    assert ours.test.startswith("paired bootstrap")
    assert ours.ours == pytest.approx(theirs.score)
    # Theirs counts the strays on one side, ours on both.
    assert 0.01 < theirs.p_value < 0.35
    assert ours.p == pytest.approx(2 * theirs.p_value, abs=0.04)


def test_shares_have_wilsons_interval() -> None:
    for hits, count in ((0, 20), (7, 20), (20, 20)):
        expected = stats.binomtest(hits, count).proportion_ci(method="wilson")
        found = intervals.proportion(hits, count)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
        assert 0 <= found.low <= found.value <= found.high <= 1
    assert intervals.proportion(0, 12).low == 0


def test_rows_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="3 rows beside 2"):
        intervals.compare(mean([1, 0, 1]), mean([1, 0]))


def test_a_few_rows_that_are_all_right_are_not_certain() -> None:
    found = intervals.score(mean([1.0] * 8))
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(stats.binomtest(8, 8).proportion_ci(method="wilson").low)
    part = intervals.score(mean([1.0] * 8 + [0.0] * 8), members=[True] * 8 + [False] * 8)
    assert (part.low, part.count) == (found.low, 8)
