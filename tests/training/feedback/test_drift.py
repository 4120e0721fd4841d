"""Whether inputs or ratings have changed, on distributions that are known."""

import json
import math
import random
from collections import Counter

import pytest

from slipway.training.drift import Profile, Ratings, dispersion, js, psi, shifts

TOPICS = {
    "orders": ["order", "delivery", "parcel", "late", "refund", "address", "invoice", "courier", "customs"],
    "code": ["python", "function", "class", "error", "import", "module", "variable", "loop", "compile"],
}


def texts(topic: str, count: int, seed: int, words: int = 30) -> list[str]:
    draw = random.Random(seed)
    common = ["please", "could", "you", "tell", "me", "why", "the", "my", "is", "not", "it", "a", "to", "and"]
    return [
        " ".join(
            draw.choice(TOPICS[topic] if draw.random() < 0.4 else common)
            for _ in range(draw.randint(5, words))
        )
        for _ in range(count)
    ]


def test_psi_and_js_are_those_of_their_formulas() -> None:
    before, now = {"a": 499.5, "b": 499.5}, {"a": 249.5, "b": 749.5}
    assert psi(before, now) == pytest.approx((0.5 - 0.25) * math.log(2) + (0.5 - 0.75) * math.log(0.5 / 0.75))
    assert js({"a": 1}, {"b": 7}) == pytest.approx(1)
    assert js({"a": 2, "b": 2}, {"a": 7, "b": 7}) == 0
    # Against scipy, which gives the square root.
    from scipy.spatial.distance import jensenshannon

    p, q = [0.1, 0.4, 0.5], [0.3, 0.3, 0.4]
    assert js(dict(enumerate(p)), dict(enumerate(q))) == pytest.approx(jensenshannon(p, q, base=2) ** 2)


def test_the_bound_holds_for_what_chance_alone_does() -> None:
    """Without a change PSI is (1/n + 1/m) chi2(B - 1): scipy's quantile agrees with the bound."""
    from scipy.stats import chi2

    few = Profile(texts=40, lengths=Counter(dict.fromkeys(range(10), 4)))
    assert shifts(few, few)[0].bound == pytest.approx((2 / 40) * chi2(9).ppf(0.999), rel=0.02)
    many = Profile(texts=40_000, lengths=Counter(dict.fromkeys(range(10), 4000)))
    assert shifts(many, many)[0].bound == 0.25


@pytest.mark.parametrize("count", [30, 300, 2000])
def test_texts_of_one_kind_do_not_drift(count: int) -> None:
    for seed in range(10):
        before, now = (Profile.of(texts("orders", count, 2 * seed + more)) for more in (0, 1))
        assert not [each for each in shifts(before, now) if each.drifted]


def test_words_that_go_together_are_no_independent_counts() -> None:
    """Each text repeats one word: as many counts as words would call a drift by chance."""
    draw = random.Random(0)
    before, now = (Profile.of([f"{draw.randrange(4000)} " * 40 for _ in range(60)]) for _ in range(2))
    found = {each.of: each for each in shifts(before, now)}
    assert dispersion(before.words) > 10
    assert found["words"].psi > 0.25
    assert not found["words"].drifted


def test_other_topics_drift_by_their_words_alone() -> None:
    before, now = Profile.of(texts("orders", 300, 1)), Profile.of(texts("code", 300, 2))
    assert {each.of: each.drifted for each in shifts(before, now)} == {"lengths": False, "words": True}


def test_longer_texts_drift_by_their_lengths() -> None:
    before, now = Profile.of(texts("orders", 300, 1)), Profile.of(texts("orders", 300, 2, words=300))
    assert {each.of: each.drifted for each in shifts(before, now)} == {"lengths": True, "words": False}


def test_another_language_drifts() -> None:
    def language(text: str) -> str:
        return "de" if "bitte" in text else "en"

    english = texts("orders", 400, 1)
    before = Profile.of(english[:200], language)
    now = Profile.of([*english[200:300], *(f"{each} bitte" for each in english[300:])], language)
    assert [each.of for each in shifts(before, now) if each.drifted] == ["languages"]


def test_profiles_add_up_and_are_read_again() -> None:
    all_ = texts("orders", 50, 3)
    whole = Profile.of(all_, lambda _: "en")
    parts = Profile.of(all_[:20], lambda _: "en") + Profile.of(all_[20:], lambda _: "en")
    assert parts == whole
    again = Profile.read(json.loads(json.dumps(whole.document())))
    assert again.document() == whole.document()
    assert [each.psi for each in shifts(again, whole)] == [0, 0, 0]


def test_nothing_is_said_of_nothing() -> None:
    assert shifts(Profile(), Profile.of(["hello there"])) == []
    with pytest.raises(ValueError, match="ratings of before"):
        Ratings(0, 0)


def until_called(ratings: Ratings, share: float, draw: random.Random, most: int) -> int | None:
    for number in range(1, most + 1):
        if ratings.add(draw.random() < share):
            return number
    return None


def test_ratings_that_stay_are_not_called_and_those_that_fall_are_soon() -> None:
    draw = random.Random(4)
    steady = [until_called(Ratings(850, 1000), 0.85, draw, 2000) for _ in range(40)]
    assert sum(each is not None for each in steady) <= 2
    fallen = [until_called(Ratings(850, 1000), 0.6, draw, 2000) for _ in range(40)]
    assert all(each is not None and each < 300 for each in fallen)


def test_a_false_call_comes_as_seldom_as_promised() -> None:
    draw = random.Random(5)
    ratings = Ratings(80_000, 100_000, false_every=200)
    runs = []
    for _ in range(200):
        ratings.sum = 0.0
        runs.append(until_called(ratings, ratings.before, draw, 100_000) or 100_000)
    assert sum(runs) / len(runs) > 200


def test_better_ratings_are_no_fall() -> None:
    assert until_called(Ratings(600, 1000), 0.95, random.Random(6), 5000) is None


def test_few_ratings_of_before_make_it_careful() -> None:
    assert Ratings(9, 10).before < Ratings(900, 1000).before < 0.9
