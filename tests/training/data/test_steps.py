"""Each step on its own: what it changes, what it drops, what it leaves alone."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from slipway.objects.datasets import PreparationStep
from slipway.training.data.steps import DropError, chosen, made
from slipway.training.data.steps.contamination import known_runs
from slipway.training.errors import DataError
from slipway.training.records import Record


def text(content: str) -> Record:
    return cast(
        "Record",
        {
            "id": "",
            "format": "text",
            "source": "",
            "place": "",
            "augmented": "",
            "slices": {},
            "text": content,
        },
    )


def after(name: str, content: str, **options: Any) -> str:
    """The text that a step makes of one."""
    record = text(content)
    made([PreparationStep(name=name, options=options)])[0](record)
    return str(record["text"])


def why(name: str, content: str, **options: Any) -> str | None:
    """Why a step drops a text; None if it does not."""
    try:
        after(name, content, **options)
    except DropError as error:
        return f"{error.reason}: {error}"
    return None


@pytest.mark.parametrize(
    ("name", "before", "expected"),
    [
        ("fix-encoding", "schÃ¶n, itâ€™s", "schön, it\u2019s"),
        ("fix-encoding", "schön 東京 naïve", "schön 東京 naïve"),
        ("fix-encoding", "\ufeffa\0b\x1b[1mc\td\n", "ab[1mc\td\n"),
        ("fix-encoding", "half \ud83d of \ud83d\ude00", "half \ufffd of 😀"),
        ("unicode", "e\u0301 ﬁ", "é ﬁ"),
        ("html", "<p>One &amp; two</p><p>three<br>four</p><script>x()</script>", "One & two\nthree\nfour\n"),
        ("html", "1 < 2 and a &lt;b&gt; c", "1 < 2 and a <b> c"),
        ("html", "<b>Use</b>\n```html\n<p>kept</p>\n```", "Use\n```html\n<p>kept</p>\n```"),
        ("html", "if a<b: return x>y", "if a<b: return x>y"),
        ("whitespace", "a\r\nb\rc \t\n\n\n\n\n\nd\u00a0e\u200bf  g\n", "a\nb\nc\n\n\nd ef  g"),
        ("whitespace", "\n    indented\n        more", "    indented\n        more"),
    ],
)
def test_texts_are_mended(name: str, before: str, expected: str) -> None:
    assert after(name, before) == expected


def test_nfkc_and_collapsed_spaces_are_options() -> None:
    assert after("unicode", "ﬁ", form="NFKC") == "fi"
    assert after("whitespace", "  a   b", collapse=True) == "  a b"


@pytest.mark.parametrize(
    ("kind", "before", "expected"),
    [
        ("EMAIL_ADDRESS", "Write to jo.doe+x@mail.example.com.", "Write to <EMAIL_ADDRESS>."),
        ("PHONE_NUMBER", "Call +1 212-555-0123 now.", "Call <PHONE_NUMBER> now."),
        ("CREDIT_CARD", "Card 4111 1111 1111 1111, thanks", "Card <CREDIT_CARD>, thanks"),
        ("IBAN_CODE", "To DE89370400440532013000 please", "To <IBAN_CODE> please"),
        ("IP_ADDRESS", "From 192.168.1.20 and 2001:db8::1.", "From <IP_ADDRESS> and <IP_ADDRESS>."),
        ("US_SSN", "My social security number is 536-22-1234.", "My social security number is <US_SSN>."),
    ],
)
def test_personal_data_becomes_the_name_of_its_kind(kind: str, before: str, expected: str) -> None:
    padded = "word and more " * 300
    assert after("redact-pii", before) == expected
    assert after("redact-pii", f"{padded}{before} {padded}") == f"{padded}{expected} {padded}"
    record = text(before)
    notes = made([PreparationStep(name="redact-pii", options={"action": "count"})])[0](record)
    assert record["text"] == before
    assert notes == [f"personal data: {kind}"]
    assert why("redact-pii", before, action="drop") == f"personal-data: It holds {kind}."


@pytest.mark.parametrize(
    "content",
    ["Version 3.14.15 at 12:30:45", "Order 4111 1111 1111 1112", "a@b", "In 2024 there were 1000000 of them"],
)
def test_what_is_not_personal_stays(content: str) -> None:
    assert after("redact-pii", content) == content


def test_tokens_keep_their_tags_when_they_are_redacted() -> None:
    record = text("")
    record |= {
        "format": "tokens",
        "text": None,
        "tokens": ["Mail", "jo@example.com", "now"],
        "tags": ["O", "X", "O"],
    }
    made([PreparationStep(name="redact-pii")])[0](record)
    assert record["tokens"] == ["Mail", "<EMAIL_ADDRESS>", "now"]


def test_languages_are_named_and_kept() -> None:
    german = "Das ist ein ganz gewöhnlicher deutscher Satz über das Wetter in Hamburg."
    english = "This is a perfectly ordinary English sentence about the weather in London."
    step = made([PreparationStep(name="language")])[0]
    assert [step(text(each)) for each in (german, english, "OK")] == [
        ("language:de",),
        ("language:en",),
        ("language:unknown",),
    ]
    assert why("language", german, keep=["en"]) is not None
    assert why("language", english, keep=["en"]) is None
    assert why("language", "OK", keep=["en"]) is None


PROSE = (
    "The garden of the old house lies behind a wall that hardly anybody has ever seen, and the"
    " people who live there tell that it was laid out with care. In spring they open the gate, so"
    " that neighbours can come in and walk between beds of tulips. Children run to the pond, where"
    " frogs have their home. Nobody has to be asked twice to stay for tea, and most of them bring a"
    " cake to share with the others before evening falls on us. Later in summer, when nights grow"
    " warm again, musicians play under lanterns until midnight comes around."
)


@pytest.mark.parametrize("name", ["gopher-quality", "gopher-repetition", "c4-quality", "length"])
def test_prose_passes_every_rule(name: str) -> None:
    assert why(name, PROSE) is None


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("length", "  ", "too-short"),
        ("gopher-quality", "Too few words.", "has 3 words"),
        ("gopher-quality", PROSE + " #" * 30, "hashes"),
        ("gopher-quality", "\n".join(f"- {line}" for line in PROSE.split(". ")), "bullet"),
        ("gopher-quality", "a b c " * 40, "characters on average"),
        ("gopher-quality", "12345 " * 60, "have a letter"),
        ("gopher-quality", "river stone garden window " * 20, "stop words"),
        ("gopher-repetition", f"{PROSE}\n" * 3, "of its lines"),
        ("gopher-repetition", "say it again and " * 40, "makes up"),
        ("c4-quality", "Lorem ipsum dolor.", "lorem ipsum"),
        ("c4-quality", "function () { return 1 }", "curly brace"),
        ("c4-quality", "Home | About | Contact", "0 sentences"),
    ],
)
def test_what_is_no_prose_is_dropped_with_the_rule(name: str, content: str, says: str) -> None:
    assert says in str(why(name, content))


def test_contamination_is_found_whatever_the_case_and_the_marks(tmp_path: Path) -> None:
    known = tmp_path / "known.npz"
    np.savez(known, **known_runs(iter([PROSE, "What is the capital of France?", "Yes"]), 13))
    options = {"against": ["file:///x"], "known": str(known)}
    part = " ".join(PROSE.split()[40:60]).upper()
    assert "contaminated" in str(why("decontaminate", f"before {part.replace(' ', ', ')} after", **options))
    assert "the capital of" in str(why("decontaminate", "Q: what is the capital of FRANCE", **options))
    assert why("decontaminate", " ".join(PROSE.split()[40:50]) + " something else. Yes", **options) is None


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([{"name": "wash"}], "no step `wash`; there are fix-encoding"),
        ([{"name": "length", "options": {"minimum": 3}}], "option `minimum`.*minCharacters|min_characters"),
        ([{"name": "length", "options": {"minCharacters": "many"}}], "Step `length`, option `minCharacters`"),
        ([{"name": "deduplicate"}, {"name": "html"}], "make it the last step"),
        ([{"name": "decontaminate"}], "option `against`"),
    ],
)
def test_a_preparation_that_cannot_be_is_refused(steps: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(DataError, match=says):
        chosen("text", [PreparationStep.model_validate(step) for step in steps])


@pytest.mark.parametrize(
    ("name", "options"), [("language", {"keep": ["xx"]}), ("redact-pii", {"kinds": ["AGE"]})]
)
def test_unknown_languages_and_kinds_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"knows no (xx|AGE)"):
        made([PreparationStep(name=name, options=options)])


def test_names_need_a_model() -> None:
    with pytest.raises(DataError, match="with a spaCy model only"):
        made([PreparationStep(name="redact-pii", options={"kinds": ["PERSON"]})])


def test_steps_load_no_torch() -> None:
    """Each process of a preparation would pay for it."""
    import subprocess
    import sys

    code = (
        "from slipway.objects.datasets import PreparationStep as S;"
        "from slipway.training.data.steps import made;"
        "made([S(name=n) for n in ('fix-encoding', 'html', 'language', 'redact-pii')]); import sys, json;"
        "print(json.dumps([n for n in ('torch', 'transformers') if n in sys.modules]))"
    )
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert json.loads(found.stdout) == []
