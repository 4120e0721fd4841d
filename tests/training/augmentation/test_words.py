"""Which parts of a text may be changed."""

from random import Random

import pytest

from slipway.training.augmentation.words import Words, kept, like


def changeable(text: str) -> list[str]:
    words = Words.of(text)
    assert words.text == text
    return [words.parts[place] for place in words.at]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Send it, please!", ["Send", "it", "please"]),
        ("Write to <EMAIL_ADDRESS> or [NAME]", ["Write", "to", "or"]),
        ("Hello {name}, {{ order.id }} and $TOTAL %(when)s %s", ["Hello", "and"]),
        ("see https://a.example/b?c=d or mail a.b@c.example now", ["see", "or", "mail", "now"]),
        ("call `do_it(now)` first", ["call", "first"]),
        ("fix ```\nwhile true: pass\n``` soon", ["fix", "soon"]),
        ("room 101 at 5pm", ["room", "at"]),
        ("I don't like it and never will", ["I", "like", "it", "and", "will"]),
        ("Das ist nicht gut, kein Bisschen", ["Das", "ist", "gut", "Bisschen"]),
        ("well-known isn\u2019t über straße", ["well-known", "über", "straße"]),
        ("", []),
    ],
)
def test_code_addresses_placeholders_numbers_and_negations_are_kept(text: str, expected: list[str]) -> None:
    assert changeable(text) == expected


def test_of_tagged_tokens_only_those_outside_any_span_may_be_changed() -> None:
    words = Words.of_tokens(
        ["Anna", "lives", "in", "Ulm", ".", "Not", "7"], ["B-PER", "O", "O", "B-LOC", "O", "O", "O"]
    )
    assert [words.parts[place] for place in words.at] == ["lives", "in"]


def test_what_must_stay_is_found_again_in_any_order() -> None:
    assert kept("Pay {sum} by 2026-11-24 to <IBAN>") == kept("To <IBAN> by 2026-11-24: pay {sum}")
    assert kept("Pay 5 euros") != kept("Pay 6 euros")
    assert kept("Mail a@b.example") != kept("Mail a@c.example")


@pytest.mark.parametrize(
    ("pattern", "word", "expected"),
    [("Car", "auto", "Auto"), ("CAR", "auto", "AUTO"), ("car", "Paris", "Paris"), ("I", "we", "We")],
)
def test_a_word_takes_the_capitals_of_the_one_before(pattern: str, word: str, expected: str) -> None:
    assert like(pattern, word) == expected


def test_some_words_are_at_least_one_and_a_share_of_all() -> None:
    words = Words.of("a b c d e f g h i j")
    assert len(words.some(0.01, Random(0))) == 1
    assert len(words.some(0.3, Random(0))) == 3
    assert words.some(0.3, Random(0), []) == []
