"""A judge: verdicts read strictly, both orders asked, agreement counted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import pytest

from slipway.training.evaluation.asking import Asked
from slipway.training.evaluation.judges import Judged, judge, verdict
from slipway.training.evaluation.questions import Kind, Question, Reply
from training.evaluation.progress import Steps


@dataclass
class Judge:
    """Prefers the answer that holds a word, or always the same place."""

    word: str = "good"
    place: str = ""
    name: str = "judge"
    identity: str = "judge"

    def kinds(self) -> frozenset[Kind]:
        return frozenset({"generate"})

    def close(self) -> None:
        pass

    def replies(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Reply]]:
        for each in questions:
            text = each.messages[0][1]
            first, second = (text.split(f"<answer_{side}>\n")[1].split("\n</answer")[0] for side in "ab")
            liked = "A" if self.word in first else "B"
            if (self.word in first) == (self.word in second):
                liked = "tie"
            if "mumble" in text:
                liked = "perhaps A"
            yield each, Reply(f"Because.\nVerdict: {self.place or liked}")


def judged(who: Judge, folder: Path, *rows: tuple[str, str]) -> Judged:
    asked = Asked.of(who, folder, Steps())
    return judge(asked, "Is it good?", [("user: {q}", *row) for row in rows], 200, 0)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Both are fine.\nVerdict: A", "A"),
        ("**Verdict: B**\n", "B"),
        ("verdict: tie.", "tie"),
        ("Verdict: A\nOr rather B.", None),
        ("Verdict: A or B", None),
        ("A", None),
        ("The answer says: Verdict: A", None),
        ("", None),
    ],
)
def test_only_the_last_line_is_a_verdict(text: str, found: str | None) -> None:
    assert verdict(text) == found


def test_wins_count_one_and_ties_half(answers: Path) -> None:
    found = judged(Judge(), answers, ("good", "bad"), ("bad", "good"), ("good", "good"), ("good {x}", "bad"))
    assert found.rows == [1, 0, 0.5, 1]
    assert found.wins.value == pytest.approx(2.5 / 4)
    assert found.agreement.value == 1


def test_a_judge_that_prefers_a_place_has_no_opinion(answers: Path) -> None:
    found = judged(Judge(place="A"), answers, ("good", "bad"), ("bad", "good"))
    assert found.rows == [0.5, 0.5]
    assert found.agreement.value == 0


def test_verdicts_that_cannot_be_read_count_for_nothing(answers: Path) -> None:
    found = judged(Judge(), answers, ("good", "bad"), ("mumble", "bad"))
    assert found.unread == 2
    assert found.rows[0] == 1
    assert isnan(found.rows[1])
    assert found.wins.value == 1
