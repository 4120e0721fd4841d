"""Where synonyms come from."""

import json
from pathlib import Path

import pytest

from slipway.training.augmentation import thesauri
from slipway.training.errors import DataError

MYTHES = """UTF-8
film|2
(noun)|movie|picture|show (generic term)
(noun)|layer|coating
good|1
(adj)|bad (antonym)
groß|1
(adj)|riesig
"""


def test_the_packages_wordnets_know_synonyms() -> None:
    english = thesauri.load("en", None)
    assert "motion picture" in english["movie"]
    assert "movie" not in english["movie"]
    for language in thesauri.LANGUAGES:
        assert len(thesauri.load(language, None)) > 5_000


def test_a_language_without_synonyms_is_refused_by_the_names_of_those_with() -> None:
    with pytest.raises(DataError, match=r"'de' here, only of en, es, it, la, pt: name a file as `thesaurus`"):
        thesauri.load("de", None)


def test_a_thesaurus_of_libreoffice_is_read_without_broader_terms_antonyms_and_later_meanings(
    tmp_path: Path,
) -> None:
    file = tmp_path / "th_xx.dat"
    file.write_text(MYTHES)
    assert thesauri.load("xx", file) == {"film": ["movie", "picture"], "groß": ["riesig"]}


def test_a_thesaurus_is_read_in_the_encoding_that_it_names(tmp_path: Path) -> None:
    file = tmp_path / "th_xx.dat"
    file.write_bytes(MYTHES.replace("UTF-8", "ISO8859-1").encode("latin-1"))
    assert thesauri.load("xx", file)["groß"] == ["riesig"]


def test_a_thesaurus_is_read_from_json(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"Film": ["movie"], "empty": []}))
    assert thesauri.load("en", file) == {"film": ["movie"]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.dat", b"UTF-8\nfilm|x\n"),
        ("a.dat", b"no-such-encoding\nfilm|1\n(noun)|movie\n"),
        ("a.dat", b"UTF-8\n\xff\xfe|1\n"),
        ("a.dat", b"UTF-8\n"),
        ("a.dat", b""),
        ("a.json", b"[]"),
        ("a.json", b'{"film": "movie"}'),
        ("a.json", b"{"),
    ],
)
def test_what_is_no_thesaurus_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError):
        thesauri.load("en", tmp_path / name)


def test_a_thesaurus_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.json"):
        thesauri.load("en", tmp_path / "nowhere.json")


def test_stop_words_of_many_languages_are_known() -> None:
    assert "the" in thesauri.stop_words("en")
    assert "und" in thesauri.stop_words("de")
    assert not thesauri.stop_words("xx1")
