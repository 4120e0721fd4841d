"""Baselines: rows of the validation part, with and without examples, kept as they are answered."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from slipway.training.choosing.baselines import Baseline, Request, Terminal, measure
from slipway.training.errors import EvaluationError, Stopped
from slipway.training.evaluation.examples import Example, examples
from slipway.training.evaluation.questions import Kind, Question, Reply
from training.tuning.datasets import tickets


class Imitator:
    """Answers as the example that shares most words with the question; without examples it does not know."""

    name = "imitator"
    identity = "imitator"

    def __init__(self, most: int = 10_000) -> None:
        self.asked: list[Question] = []
        self._most = most

    def close(self) -> None:
        """It holds nothing."""

    def kinds(self) -> frozenset[Kind]:
        return frozenset({"generate"})

    def replies(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Reply]]:
        for question in questions:
            if len(self.asked) == self._most:
                raise EvaluationError("It does not answer any more.", "CannotAnswer")
            self.asked.append(question)
            yield question, Reply(self._answer(question), tokens=1)

    def _answer(self, question: Question) -> str:
        *before, (_, asked) = question.messages
        shots = list(zip(before[::2], before[1::2], strict=True))
        wanted = set(asked.lower().split())
        best = max(shots, key=lambda shot: len(wanted & set(shot[0][1].lower().split())), default=None)
        return best[1][1] if best else "I do not know."


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, list[Example]]:
    version = tickets(tmp_path / "data")
    return {part: list(examples(version.rows(part))) for part in ("train", "validation", "test")}


def baseline(parts: dict[str, list[Example]], tmp_path: Path, model: Imitator, **asked: object) -> Baseline:
    request = Request.model_validate(
        {"models": [], "data": "", "workspace": "", "metrics": ["exact_match"], **asked}
    )
    found = measure([model], parts["validation"], parts["train"], tmp_path / "answers", Terminal(), request)
    return found[0]


def test_examples_before_the_question_help_and_come_from_the_training_part(
    parts: dict[str, list[Example]], tmp_path: Path
) -> None:
    none, many = Imitator(), Imitator()
    without = baseline(parts, tmp_path / "0", none).scores["exact_match"]
    with_shots = baseline(parts, tmp_path / "64", many, shots=64).scores["exact_match"]
    assert without.value == 0.0
    assert with_shots.value > 0.5
    assert with_shots.low <= with_shots.value <= with_shots.high
    training = {each.messages[-1][1] for each in parts["train"]}
    shown = {text for question in many.asked for role, text in question.messages[:-1] if role == "user"}
    assert shown <= training
    assert len(many.asked[0].messages) == 2 * 64 + 1


def test_the_validation_part_is_asked_and_never_the_test_part(
    parts: dict[str, list[Example]], tmp_path: Path
) -> None:
    model = Imitator()
    baseline(parts, tmp_path, model)
    asked = {question.messages[-1][1] for question in model.asked}
    assert asked == {each.messages[-1][1] for each in parts["validation"]}
    assert not asked & {each.messages[-1][1] for each in parts["test"]}


def test_few_examples_show_as_many_answers_as_they_can(
    parts: dict[str, list[Example]], tmp_path: Path
) -> None:
    model = Imitator()
    baseline(parts, tmp_path, model, shots=3)
    answers = [text for role, text in model.asked[0].messages if role == "assistant"]
    assert len(set(answers)) == 3


def test_a_model_that_fails_is_told_of_and_ends_nothing(
    parts: dict[str, list[Example]], tmp_path: Path
) -> None:
    request = Request(models=[], data="", workspace="", metrics=["exact_match"])
    broken, sound = Imitator(most=3), Imitator()
    broken.identity = "broken"
    found = measure([broken, sound], parts["validation"], [], tmp_path / "answers", Terminal(), request)
    assert found[0].error == "It does not answer any more."
    assert found[1].scores["exact_match"].count == len(parts["validation"])


def test_what_was_answered_before_a_stop_is_not_asked_again(
    parts: dict[str, list[Example]], tmp_path: Path
) -> None:
    terminal = Terminal()

    class Interrupted(Imitator):
        def replies(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Reply]]:
            for number, reply in enumerate(super().replies(questions)):
                if number == 4:
                    terminal.asked.append(15)
                yield reply

    request = Request(models=[], data="", workspace="", metrics=["exact_match"])
    first, second = Interrupted(), Imitator()
    with pytest.raises(Stopped):
        measure([first], parts["validation"], [], tmp_path / "answers", terminal, request)
    measure([second], parts["validation"], [], tmp_path / "answers", Terminal(), request)
    assert len(first.asked) == 5
    assert len(second.asked) == len(parts["validation"]) - 5


def test_labels_are_asked_for_by_name(tmp_path: Path) -> None:
    texts = {"lovely": "good", "awful": "bad"}
    rows = [
        Example(str(at), "classify", text=f"{text} {at}", reference=texts[text])
        for at, text in enumerate(["lovely", "awful"] * 4)
    ]
    model = Imitator()
    request = Request(models=[], data="", workspace="", shots=4)
    found = measure([model], rows[:4], rows[4:], tmp_path / "answers", Terminal(), request)
    assert set(found[0].scores) == {"accuracy", "f1_macro"}
    assert found[0].scores["accuracy"].value == 1.0
    assert "- bad\n- good" in model.asked[0].messages[-1][1]
