"""How texts fall into words, characters and sub-words."""

from pathlib import Path

import pytest

from slipway.training.errors import DataError
from slipway.training.exploration.tokenizing import Subwords, Units, compare, trained

TEXTS = [
    f"the quick brown fox jumps over the lazy dog and sees house number {number}" for number in range(200)
]


def saved(folder: Path, kind: str = "BPE", vocabulary: int = 200) -> Path:
    folder.mkdir()
    trained(kind, TEXTS, vocabulary).save(str(folder / "tokenizer.json"))
    return folder


def test_words_and_characters_are_counted_as_they_stand() -> None:
    words = Units("words", ["the", "dog"], characters=False)
    words.add(["the dog saw the cat"])
    assert (words.measured.tokens, words.measured.fertility, words.measured.continued) == (5, 1, 0)
    assert words.measured.unknown_share == 2 / 5
    letters = Units("characters", set("the dog"), characters=True)
    letters.add(["a dog"])
    assert letters.measured.tokens == 5
    assert letters.measured.unknown == 1
    assert letters.measured.fertility == 5 / 2
    assert letters.measured.continued == 1 / 2


@pytest.mark.parametrize("kind", ["BPE", "Unigram", "WordPiece"])
def test_sub_words_lie_between_words_and_characters(kind: str) -> None:
    subwords = Subwords(kind, trained(kind, TEXTS, 120))
    subwords.add(["the quick brown foxes jump"])
    measured = subwords.measured
    assert measured.words == 5
    assert 5 <= measured.tokens < 22
    assert measured.unknown == 0
    assert measured.lengths.longest == measured.tokens
    assert measured.characters_per_token == pytest.approx(26 / measured.tokens)


def test_a_known_word_is_whole_and_a_new_one_is_cut_up() -> None:
    subwords = Subwords("BPE", trained("BPE", TEXTS, 500))
    subwords.add(["quick brown", "quirk"])
    measured = subwords.measured
    assert (measured.words, measured.whole) == (3, 2)
    assert measured.continued == pytest.approx(1 / 3)
    assert measured.tokens > 3


@pytest.mark.parametrize("kind", ["BPE", "Unigram", "WordPiece"])
def test_what_no_token_stands_for_is_unknown(kind: str) -> None:
    subwords = Subwords(kind, trained(kind, TEXTS, 200))
    subwords.add(["the dog \u732b"])
    assert subwords.measured.unknown == 1


def test_all_kinds_are_compared_on_texts_they_have_not_seen(tmp_path: Path) -> None:
    found = compare(
        iter(TEXTS), iter(["the lazy dog runs", ""]), vocabulary=150, model=saved(tmp_path / "m"), most=100
    )
    by_name = {each.name: each for each in found}
    assert list(by_name) == ["words", "characters", "BPE", "Unigram", "WordPiece", "the model's"]
    assert {each.lengths.number for each in found} == {2}
    assert {each.words for each in found} == {4}
    assert by_name["words"].unknown_share == 1 / 4
    assert by_name["characters"].tokens == 17
    assert all(each.vocabulary <= 150 for each in found if each.name in ("BPE", "Unigram", "WordPiece"))
    assert by_name["BPE"].document()["fertility"] == round(by_name["BPE"].fertility, 4)


def test_no_more_texts_are_looked_at_than_asked_for() -> None:
    found = compare(iter(TEXTS), iter(TEXTS), vocabulary=150, most=7)
    assert {each.lengths.number for each in found} == {7}


def test_byte_level_tokens_belong_to_their_words(tmp_path: Path) -> None:
    """A token that begins with the space before its word counts for the word, not for the one before."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, show_progress=False, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXTS, trainer)
    subwords = Subwords("bytes", tokenizer)
    subwords.add(["lazy quick lazy"])
    assert (subwords.measured.words, subwords.measured.whole) == (3, 2)


def test_a_model_without_a_tokenizer_and_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no tokenizer"):
        Subwords.of_model(tmp_path)
    with pytest.raises(DataError, match="no text"):
        compare(iter([""]), iter(["a"]), vocabulary=100, most=10)
