"""The step `redact-pii`: finds personal data and puts the name of its kind in its place.

Presidio's recognizers look for patterns that they can check (card numbers, IBANs, telephone numbers), and,
where an installed spaCy model names people, for names. Texts without any character that such data needs are
not looked at.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

from pydantic import Field

from slipway.training.data.identities import rewrite
from slipway.training.data.steps import options
from slipway.training.data.steps.dropping import DropError
from slipway.training.errors import DataError
from slipway.training.records import Record

_RECOGNIZERS = {
    "EMAIL_ADDRESS": "EmailRecognizer",
    "PHONE_NUMBER": "PhoneRecognizer",
    "CREDIT_CARD": "CreditCardRecognizer",
    "IBAN_CODE": "IbanRecognizer",
    "IP_ADDRESS": "IpRecognizer",
    "US_SSN": "UsSsnRecognizer",
    "CRYPTO": "CryptoRecognizer",
    "MAC_ADDRESS": "MacAddressRecognizer",
}
_CUES = {
    "EMAIL_ADDRESS": re.compile(r"\w@\w"),
    "PHONE_NUMBER": re.compile(r"\d(?:[\s().+/\u2013-]{0,3}\d){6,}"),
    "CREDIT_CARD": re.compile(r"\d(?:[ -]?\d){11,}"),
    "IBAN_CODE": re.compile(r"\b[A-Za-z]{2}\d{2}"),
    "IP_ADDRESS": re.compile(r"\d\.\d{1,3}\.\d{1,3}\.\d|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f]*"),
    "US_SSN": re.compile(r"\d{3}[- .]?\d{2}[- .]?\d{4}"),
    "CRYPTO": re.compile(r"\b(?:[13]|bc1)[A-Za-z0-9]{25,}"),
    "MAC_ADDRESS": re.compile(r"[0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}"),
}
"""What a text must hold to be worth a look at each kind: looser than the recognizers, and far cheaper."""
_AROUND = 80
"""Characters around a cue that are looked at: the words that make a find surer are there."""
_SPACE = re.compile(r"\s")
_NAMES = {"PERSON": ("PERSON", "PER")}
_DEFAULT = ("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "US_SSN", "CRYPTO")


class RedactPersonal:
    """Redacts, drops or only counts records with personal data."""

    class Options(options.Options):
        """Options of `redact-pii`."""

        kinds: tuple[str, ...] = ()
        """Presidio's names of what is looked for; by default all but MAC_ADDRESS, and PERSON where a spaCy
        model is installed."""
        action: Literal["redact", "drop", "count"] = "redact"
        """Put `<KIND>` in its place, leave the record out, or only count it."""
        min_score: float = Field(default=0.4, ge=0, le=1)
        """How sure Presidio must be."""

    def __init__(self, options: Options) -> None:
        self._action = options.action
        self._redactor = redactor(options.kinds, options.min_score)

    def __call__(self, record: Record) -> Sequence[str]:
        if record["format"] == "tokens":
            found = self._in_tokens(record)
        else:
            found = set()

            def change(text: str) -> str:
                text, kinds = self._redactor.redact(text)
                found.update(kinds)
                return text

            self._keep(record, change)
        if found and self._action == "drop":
            raise DropError("personal-data", f"It holds {', '.join(sorted(found))}.")
        return [f"personal data: {kind}" for kind in sorted(found)]

    def _keep(self, record: Record, change: Any) -> None:
        if self._action == "redact":
            rewrite(record, change)
        else:
            rewrite(record, lambda text: (change(text), text)[1])

    def _in_tokens(self, record: Record) -> set[str]:
        """Each token that overlaps personal data becomes the name of its kind, so that tags still fit."""
        tokens = list(record.get("tokens") or ())
        found: set[str] = set()
        spans = self._redactor.find(" ".join(tokens))
        at = 0
        for index, token in enumerate(tokens):
            for start, end, kind in spans:
                if start < at + len(token) and at < end:
                    found.add(kind)
                    if self._action == "redact":
                        tokens[index] = f"<{kind}>"
            at += len(token) + 1
        record["tokens"] = tokens
        return found


class Redactor:
    """Finds personal data in texts.

    Args:
        kinds: Presidio's names of what is looked for.
        min_score: how sure Presidio must be.
        models: languages of installed spaCy models that name people, and the models' names.
    """

    def __init__(self, kinds: Sequence[str], min_score: float, models: dict[str, str]) -> None:
        self._names = "PERSON" in kinds
        self._kinds = [kind for kind in kinds if kind != "PERSON"]
        self._min_score = min_score
        self._analyze = _analyzer(self._kinds, models if self._names else {})

    def find(self, text: str) -> list[tuple[int, int, str]]:
        """Beginning, end and kind of each, in order, none overlapping another."""
        found = [
            (each.score, start + each.start, start + each.end, each.entity_type)
            for start, end, kinds in self._windows(text)
            for each in self._analyze(
                text[start:end], "en", entities=sorted(kinds), score_threshold=self._min_score
            )
        ]
        # The surer and then the longer one, where two overlap.
        chosen: list[tuple[int, int, str]] = []
        for _, start, end, kind in sorted(found, key=lambda each: (-each[0], each[1] - each[2], each[1])):
            if all(end <= begun or ended <= start for begun, ended, _ in chosen):
                chosen.append((start, end, kind))
        return sorted(chosen)

    def _windows(self, text: str) -> list[tuple[int, int, set[str]]]:
        """What of a text is worth a look, and for which kinds: whole words around each cue."""
        if self._names:
            return [(0, len(text), {*self._kinds, "PERSON"})]
        cues = sorted(
            (cue.start(), cue.end(), kind) for kind in self._kinds for cue in _CUES[kind].finditer(text)
        )
        windows: list[tuple[int, int, set[str]]] = []
        for start, end, kind in cues:
            start, end = _whole_words(text, start - _AROUND, end + _AROUND)
            if windows and start <= windows[-1][1]:
                before, ended, kinds = windows[-1]
                windows[-1] = (before, max(end, ended), kinds | {kind})
            else:
                windows.append((start, end, {kind}))
        return windows

    def redact(self, text: str) -> tuple[str, set[str]]:
        """The text with placeholders such as `<EMAIL_ADDRESS>`, and the kinds that were found."""
        spans = self.find(text)
        for start, end, kind in reversed(spans):
            text = f"{text[:start]}<{kind}>{text[end:]}"
        return text, {kind for _, _, kind in spans}


@cache
def redactor(kinds: tuple[str, ...] = (), min_score: float = 0.4) -> Redactor:
    """The redactor of this process for what is asked for.

    Raises:
        DataError: a kind that there is not, or names without a model that knows them.
    """
    models = _models()
    known = (*_RECOGNIZERS, *_NAMES)
    if unknown := sorted(set(kinds) - set(known)):
        raise DataError(f"`redact-pii` knows no {', '.join(unknown)}; it knows {', '.join(known)}.")
    if "PERSON" in kinds and not models:
        raise DataError(
            "`redact-pii` finds a PERSON with a spaCy model only; install en_core_web_sm or another."
        )
    return Redactor(kinds or (*_DEFAULT, *(("PERSON",) if models else ())), min_score, models)


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """A span that is widened until no word is cut; a word without end is cut all the same."""
    before = max(
        (space.end() for space in _SPACE.finditer(text, max(0, start - _AROUND), max(0, start))), default=None
    )
    after = _SPACE.search(text, end, end + _AROUND)
    return (
        max(0, start) if before is None else before,
        min(len(text), end) if after is None else after.start(),
    )


@contextmanager
def _without_torch() -> Iterator[None]:
    """Let imports find no torch: spaCy and Presidio would load it for engines that are not used here, in
    seconds and hundreds of megabytes for each process."""
    hidden = [name for name in ("torch", "transformers") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


def _models() -> dict[str, str]:
    with _without_torch():
        import spacy.util

    english = sorted(name for name in spacy.util.get_installed_models() if name.startswith("en"))
    return {"en": english[0]} if english else {}


def _analyzer(kinds: Iterable[str], models: dict[str, str]) -> Any:
    import logging

    with _without_torch():
        import spacy
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry, predefined_recognizers
        from presidio_analyzer.nlp_engine import SpacyNlpEngine

    # It warns of each language that a recognizer of its own list lacks.
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    recognizers = [
        _offline_email() if kind == "EMAIL_ADDRESS" else getattr(predefined_recognizers, _RECOGNIZERS[kind])()
        for kind in kinds
    ]
    if models:
        recognizers.append(predefined_recognizers.SpacyRecognizer(supported_entities=["PERSON"]))
    registry = RecognizerRegistry(recognizers=recognizers, supported_languages=["en"])
    engine = SpacyNlpEngine()
    engine.nlp = {"en": spacy.load(models["en"]) if models else spacy.blank("en")}
    engine.nlp["en"].max_length = 1 << 26
    analyze = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"]).analyze

    def analyzed(*arguments: Any, **options: Any) -> Any:
        # Outside of a zone spaCy keeps each word that it ever met.
        with engine.nlp["en"].memory_zone():
            return analyze(*arguments, **options)

    return analyzed


def _offline_email() -> Any:
    import tldextract
    from presidio_analyzer.predefined_recognizers import EmailRecognizer

    # The library's own would fetch the list of public suffixes; this takes the one that it was shipped with.
    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    class Recognizer(EmailRecognizer):
        def validate_result(self, pattern_text: str) -> bool:
            return bool(extract(pattern_text.rpartition("@")[2]).top_domain_under_public_suffix)

    return Recognizer()
