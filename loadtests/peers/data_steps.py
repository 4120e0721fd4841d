"""The steps of a preparation by the plain use of their libraries, for the frameworks that are measured."""

import functools
import logging
import re
import sys
import unicodedata
from collections import Counter
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\ufeff]")
_SAMPLE = 256
_KINDS = ["EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "US_SSN", "CRYPTO"]


def clean(text: str) -> tuple[str, bool]:
    """The text after all steps, and whether it is kept."""
    import ftfy

    text = _CONTROL.sub("", ftfy.fix_encoding(text))
    text = unicodedata.normalize("NFC", text)
    text = strip_html(text)
    text = "\n".join(line.rstrip() for line in text.replace("\r\n", "\n").split("\n")).strip()
    if not text:
        return text, False
    _identifier().classify(text[:_SAMPLE])
    if repeats(text):
        return text, False
    return redact(text), True


def strip_html(text: str) -> str:
    """The text of HTML."""
    from selectolax.lexbor import LexborHTMLParser

    if "<" not in text:
        return text
    body = LexborHTMLParser(text).body
    return str(body.text()) if body is not None else ""


def repeats(text: str) -> bool:
    """Gopher's rules against repetition."""
    words = text.split()
    if len(words) < 100:
        return False
    for parts in (text.split("\n"), text.split("\n\n")):
        if len(parts) > 2 and 1 - len(set(parts)) / len(parts) > 0.3:
            return True
    characters = sum(map(len, words))
    for size, most in ((2, 0.20), (3, 0.18), (4, 0.16)):
        gram, count = Counter(zip(*(words[at:] for at in range(size)), strict=False)).most_common(1)[0]
        if count > 1 and count * sum(map(len, gram)) / characters > most:
            return True
    for size, most in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10)):
        seen: set[tuple[str, ...]] = set()
        total = 0
        for gram in zip(*(words[at:] for at in range(size)), strict=False):
            if gram in seen:
                total += sum(map(len, gram))
            seen.add(gram)
        if total / characters > most:
            return True
    return False


def redact(text: str) -> str:
    """The text with the names of kinds in the place of personal data."""
    for found in sorted(
        _analyzer().analyze(text, "en", entities=_KINDS, score_threshold=0.4), key=lambda each: -each.start
    ):
        text = f"{text[: found.start]}<{found.entity_type}>{text[found.end :]}"
    return text


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@functools.cache
def _analyzer() -> Any:
    # Without these lines the start alone would take seconds more, and each email a look-up in the network.
    hidden = [name for name in ("torch", "transformers") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry, predefined_recognizers
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    for name in hidden:
        del sys.modules[name]
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    offline = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    tldextract.extract = offline
    names = ("Email", "Phone", "CreditCard", "Iban", "Ip", "UsSsn", "Crypto")
    recognizers = [getattr(predefined_recognizers, f"{name}Recognizer")() for name in names]
    engine = SpacyNlpEngine()
    engine.nlp = {"en": spacy.blank("en")}
    registry = RecognizerRegistry(recognizers=recognizers, supported_languages=["en"])
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])
