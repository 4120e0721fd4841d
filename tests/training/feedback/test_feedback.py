"""What users said of answers becomes data, if they agreed; and a sign of drift."""

import json
from pathlib import Path
from typing import Any

import pytest

from slipway.training.data.formats import to_record
from slipway.training.data.steps.personal import redactor
from slipway.training.drift import Profile
from slipway.training.errors import DataError
from slipway.training.feedback import Collected, Form, asked_text, collect, watch


def said(number: int, rating: str = "up", *, at: int = 1000, **more: Any) -> dict[str, Any]:
    turns = [
        {"role": "user", "content": f"Question {number}?"},
        {"role": "assistant", "content": f"Answer {number}."},
    ]
    return {
        "id": f"feedback_{number}",
        "object": "feedback",
        "request_id": f"req-{number}",
        "key": "someone",
        "owner": "someone@example.com",
        "model": "small",
        "rating": rating,
        "comment": None,
        "expected": None,
        "messages": turns,
        "created_at": at,
        **more,
    }


def written(found: list[dict[str, Any]], form: Form, path: Path) -> tuple[Collected, list[dict[str, Any]]]:
    collected = collect(found, form, redactor().redact, path)
    return collected, [json.loads(line) for line in path.read_text().splitlines()]


def test_good_and_corrected_answers_become_conversations(tmp_path: Path) -> None:
    found = [said(1), said(2, "down", expected="A better answer."), said(3, "down")]
    collected, rows = written(found, "chat", tmp_path / "feedback.jsonl")
    assert [row["messages"][-1]["content"] for row in rows] == ["Answer 1.", "A better answer."]
    assert [row["corrected"] for row in rows] == ["no", "yes"]
    assert collected.written == 2
    assert collected.skipped == {"rated down, and no better answer was given": 1}


def test_corrections_become_preferences_over_what_was_given(tmp_path: Path) -> None:
    found = [
        said(1),
        said(2, "down", expected="A better answer."),
        said(3, "down", expected=" Answer 3. "),
        said(4, "down", expected="Better", messages=[{"role": "user", "content": "Question 4?"}]),
    ]
    collected, rows = written(found, "preference", tmp_path / "feedback.jsonl")
    assert rows == [
        {
            "messages": [{"role": "user", "content": "Question 2?"}],
            "chosen": "A better answer.",
            "rejected": "Answer 2.",
            "request_id": "req-2",
            "feedback_id": "feedback_2",
            "model": "small",
            "rating": "down",
        }
    ]
    assert collected.skipped == {
        "no better answer was given": 1,
        "the better answer is the one that was given": 1,
        "the answer that was given is not in the conversation": 1,
    }


def test_nothing_is_taken_without_consent(tmp_path: Path) -> None:
    found = [said(1, messages=None, expected="A better answer."), said(2, messages=[])]
    for form in ("chat", "preference"):
        collected, rows = written(found, form, tmp_path / f"{form}.jsonl")
        assert not rows
        assert collected.skipped == {"its conversation was not agreed to be kept": 2}


def test_personal_data_is_redacted_and_nobody_is_named(tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "You write for boss@company.com."},
        {"role": "user", "content": "Mail jane.doe@company.com please"},
        {"role": "assistant", "content": "I wrote to jane.doe@company.com."},
    ]
    found = [
        said(1, "down", messages=turns, expected="Write to john@company.com.", comment="me@home.org said so")
    ]
    for form in ("chat", "preference"):
        collected, _ = written(found, form, tmp_path / f"{form}.jsonl")
        text = (tmp_path / f"{form}.jsonl").read_text()
        assert "@" not in text
        assert "someone" not in text
        assert text.count("<EMAIL_ADDRESS>") == (3 if form == "chat" else 4)
        assert collected.redacted == {"EMAIL_ADDRESS": 1}


def test_the_request_is_kept_beside_the_texts_and_reaches_the_record(tmp_path: Path) -> None:
    for form, expected in (("chat", None), ("preference", "A better answer.")):
        _, rows = written([said(7, expected=expected)], form, tmp_path / f"{form}.jsonl")  # type: ignore[arg-type]
        record = to_record(rows[0], form, {})  # type: ignore[arg-type]
        assert record["slices"]["request_id"] == "req-7"
        assert record["slices"]["rating"] == "up"
        texts = json.dumps([record.get("messages"), record.get("chosen"), record.get("rejected")])
        assert "req-7" not in texts


def test_of_one_request_the_newest_feedback_counts(tmp_path: Path) -> None:
    newest = said(1, "down", expected="The newest.", at=2000)
    other = said(1, owner="other@example.com", at=1500)
    collected, rows = written([newest, other, said(1, at=1000)], "chat", tmp_path / "feedback.jsonl")
    assert [row["messages"][-1]["content"] for row in rows] == ["The newest.", "Answer 1."]
    assert collected.skipped == {"newer feedback on the same request is there": 1}


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([{"role": "tool", "content": "{}"}], "its conversation holds messages of tools"),
        ([{"role": "system", "content": "x"}], "its conversation asks nothing"),
        ([{"role": "user", "content": " "}], "its conversation asks nothing"),
        ([{"role": "assistant", "content": "Hello."}], "its conversation asks nothing"),
    ],
)
def test_conversations_that_teach_nothing_are_left_out(tmp_path: Path, messages: list[Any], why: str) -> None:
    collected, _ = written([said(1, messages=messages)], "chat", tmp_path / "feedback.jsonl")
    assert collected.skipped == {why: 1}


def test_a_file_is_never_replaced_nor_left_half(tmp_path: Path) -> None:
    path = tmp_path / "feedback.jsonl"
    path.write_text("mine")
    with pytest.raises(DataError, match="there already"):
        collect([said(1)], "chat", redactor().redact, path)
    assert path.read_text() == "mine"

    def broken(text: str) -> tuple[str, set[str]]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        collect([said(1)], "chat", broken, tmp_path / "new.jsonl")
    assert [each.name for each in tmp_path.iterdir()] == ["feedback.jsonl"]


def conversation(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}, {"role": "assistant", "content": "Yes."}]


def test_other_questions_and_worse_ratings_raise_an_alarm_and_the_same_ones_none() -> None:
    usual = [f"where is my order number {number} please" for number in range(300)]
    trained = Profile.of(usual)
    before = [said(number, "down" if number % 10 == 0 else "up", at=10) for number in range(200)]
    same = [said(number, "down" if number % 10 == 0 else "up", at=99, messages=conversation(usual[number]))
            for number in range(200)]  # fmt: skip
    calm = watch([*same, *before], trained, since=50)
    assert calm.inputs == 200
    assert calm.alarms == []
    other = [said(number, "down" if number % 2 else "up", at=99,
                  messages=conversation(f"def function{number}(self): return [each for each in self]"))
             for number in range(200)]  # fmt: skip
    alarmed = watch([*other, *before], trained, since=50)
    assert [sentence.split(":")[0] for sentence in alarmed.alarms] == [
        "Inputs have drifted in their lengths",
        "Inputs have drifted in their words",
        "Ratings have fallen",
    ]
    assert alarmed.document()["ratings"] == {
        "before": {"up": 180, "all": 200},
        "since": {"up": 100, "all": 200},
        "falling": True,
    }


def test_few_ratings_before_say_nothing_of_a_fall() -> None:
    found = [said(number, "down", at=99) for number in range(200)] + [said(1, at=10)]
    assert watch(found, Profile(), since=50).ratings is None


def test_what_is_asked_is_what_the_user_says() -> None:
    turns = [{"role": "system", "content": "s"}, *conversation("one"), {"role": "user", "content": "two"}]
    assert asked_text(turns) == "one\ntwo"
