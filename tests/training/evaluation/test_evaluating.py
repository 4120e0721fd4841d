"""A whole evaluation: figures, slices, rivals, gates, files."""

import json
from pathlib import Path
from typing import Any

import pytest

from slipway.objects.finetunes import EvaluationSpec
from slipway.training.errors import EvaluationError, GateError
from slipway.training.evaluation import gates
from slipway.training.evaluation.asking import Asked
from slipway.training.evaluation.evaluating import Plan, Sides, evaluate, limited
from slipway.training.evaluation.examples import Example
from slipway.training.evaluation.gates import Rival
from slipway.training.evaluation.models.folders import Folder
from slipway.training.evaluation.models.local import LocalModel
from slipway.training.evaluation.outputs import Outputs
from slipway.training.evaluation.questions import Question
from slipway.training.evaluation.results import Evaluation
from training.evaluation.progress import Steps
from training.evaluation.scripted import Scripted

HOSTILE = "<script>alert(1)</script> & 'quotes'"
EXAMPLES = [
    Example(
        str(at),
        "generate",
        (("user", f"{HOSTILE if at == 3 else 'Which label?'} {at}"),),
        reference="even" if at % 2 == 0 else "odd",
        slices={"size": "big" if at >= 40 else "small"},
        place=f"rows.jsonl:{at + 1}",
    )
    for at in range(60)
]


def number(question: Question) -> int:
    return int(question.messages[0][1].rsplit(" ", 1)[1])


def good(question: Question) -> str:
    """Right but for the big ones that are divided by three; kind where it is no test."""
    if not question.messages[0][1][-1].isdigit():
        return "Good day."
    at = number(question)
    return "neither" if at >= 40 and at % 3 == 0 else ("even", "odd")[at % 2]


def poor(question: Question) -> str:
    return "even"


def loss(question: Question) -> float:
    right = ("even", "odd")[number(question) % 2] == question.continuation
    return 0.1 if right else 1.0


def evaluated(
    folder: Path, model: Any = None, rival: Any = None, judging: Any = None, **spec: Any
) -> Evaluation:
    own = Asked.of(model or Scripted(good, loss), folder, Steps())
    rivals: dict[Rival, Asked] = {"base": Asked.of(rival, folder, Steps())} if rival else {}
    judge = Asked.of(judging, folder, Steps()) if judging else None
    plan = Plan(EvaluationSpec.model_validate(spec), "generate", "rows.jsonl", resamples=200)
    return evaluate(plan, Sides(own, rivals, judge), EXAMPLES)


def test_figures_have_intervals_and_slices_are_told_apart(answers: Path) -> None:
    found = evaluated(answers, metrics=["exact_match", "f1_macro", "perplexity"], slices=["size", "colour"])
    wrong = len([at for at in range(40, 60) if at % 3 == 0])
    assert found.metrics["exact_match"] == pytest.approx(1 - wrong / 60)
    low, high = found.intervals["exact_match"]
    assert low < found.metrics["exact_match"] < high
    by_value = {each.value: each for each in found.slices}
    assert by_value["small"].scores["exact_match"].value == 1
    assert by_value["big"].scores["exact_match"].value == pytest.approx(1 - wrong / 20)
    assert by_value["big"].small
    assert not by_value["small"].small
    assert "No example has the field colour" in found.notes[0]
    assert set(found.per_label) == {"even", "odd"}


def test_labels_that_are_written_have_probabilities_by_how_likely_each_is(answers: Path) -> None:
    found = evaluated(answers, metrics=["auc", "ece"])
    assert found.metrics["auc"] == 1
    scores = found.predictions[0].answer.scores
    assert scores["even"] > scores["odd"]
    assert sum(scores.values()) == pytest.approx(1)


def test_a_better_model_is_told_from_the_base_with_significance(answers: Path) -> None:
    base = Scripted(poor, loss, name="base", identity="base")
    found = evaluated(
        answers, rival=base, metrics=["exact_match"], gates=[{"metric": "exact_match", "over": "base"}]
    )
    compared = found.comparisons["base"]["exact_match"]
    assert compared.test == "McNemar, exact"
    assert compared.theirs == 0.5
    assert compared.p < 0.001
    assert found.passed
    same = evaluated(
        answers,
        Scripted(poor, loss, identity="same"),
        base,
        gates=[{"metric": "exact_match", "over": "base"}],
    )
    assert not same.passed
    assert "not significantly better (p = 1" in same.gates[0].message


def test_metrics_that_the_model_cannot_tell_are_left_out_or_refused(answers: Path) -> None:
    silent = Scripted(good)
    found = evaluated(answers, silent)
    assert "perplexity" not in found.metrics
    assert "perplexity is left out: scripted does not tell probabilities of texts." in found.notes
    with pytest.raises(EvaluationError, match="perplexity cannot be told"):
        evaluated(answers, silent, metrics=["perplexity"])


def test_gates_bring_their_metrics_and_suites(answers: Path) -> None:
    found = evaluated(
        answers,
        metrics=["exact_match"],
        gates=[{"metric": "accuracy", "min": "0.5"}, {"metric": "toxicity.rate", "max": "0"}],
    )
    assert found.passed
    assert found.metrics["toxicity.rate"] == 0
    assert found.metrics["accuracy"] == found.metrics["exact_match"]


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ({"metric": "exactmatch", "min": "1"}, "A gate names exactmatch, which is no metric"),
        ({"metric": "toxicity.rate", "over": "base"}, "give it min or max"),
    ],
)
def test_gates_that_can_never_hold_are_refused_before_anything_is_asked(
    answers: Path, gate: dict[str, str], message: str
) -> None:
    model = Scripted(good, loss)
    with pytest.raises(EvaluationError, match=message):
        evaluated(answers, model, gates=[gate])
    assert not model.asked


def test_a_judge_compares_with_the_references_where_there_is_no_rival(answers: Path) -> None:
    def verdict(question: Question) -> str:
        return "Verdict: tie"

    judge = Scripted(verdict, name="judge", identity="judge")
    spec = {"url": "http://judge/v1", "model": "judge"}
    found = evaluated(answers, judging=judge, metrics=["exact_match"], judge=spec)
    assert found.metrics["judge.win_rate"] == 0.5
    assert found.metrics["judge.agreement"] == 1
    assert "beside those of the references" in found.notes[-1]


def test_a_model_that_writes_labels_texts_when_it_is_told_the_labels(answers: Path) -> None:
    examples = [Example(str(at), "classify", text=f"text {at}", reference="ab"[at % 2]) for at in range(10)]

    def label(question: Question) -> str:
        assert "- a\n- b" in question.messages[0][1]
        return "ab"[int(question.messages[0][1].rsplit(" ", 1)[1]) % 2]

    own = Asked.of(Scripted(label), answers, Steps())
    spec = EvaluationSpec(metrics=("accuracy",))
    found = evaluate(Plan(spec, "classify", "rows", resamples=50), Sides(own, {}, None), examples)
    assert found.metrics["accuracy"] == 1


def test_a_tagger_is_measured_by_its_entities(tagger: Path, answers: Path) -> None:
    examples = [Example(str(at), "tag", tokens=("Ann", "sat"), tags=("B-PER", "O")) for at in range(3)]
    own = Asked.of(LocalModel(Folder(tagger), "tag"), answers, Steps())
    found = evaluate(Plan(EvaluationSpec(), "tag", "rows", resamples=50), Sides(own, {}, None), examples)
    assert set(found.metrics) == {"entity_precision", "entity_recall", "entity_f1", "tag_accuracy"}


def test_the_files_hold_all_of_it_and_the_report_no_code_of_anybody(answers: Path, tmp_path: Path) -> None:
    base = Scripted(poor, loss, name="base", identity="base")
    found = evaluated(
        answers,
        Scripted(lambda question: HOSTILE if HOSTILE in question.messages[0][1] else good(question), loss),
        base,
        metrics=["exact_match", "auc", "ece"],
        slices=["size"],
        suites=["toxicity"],
        gates=[{"metric": "exact_match", "min": "0.99"}],
    )
    outputs = Outputs(tmp_path / "out")
    outputs.write(found)
    document = json.loads(outputs.document.read_text())
    assert document["metrics"]["exact_match"] == found.metrics["exact_match"]
    assert document["gates"][0]["passed"] is False
    assert document["comparisons"]["base"]["metrics"]["exact_match"]["p"] < 0.01
    lines = [json.loads(line) for line in outputs.predictions.read_text().splitlines()]
    assert len(lines) == len(EXAMPLES)
    assert lines[3]["answer"] == HOSTILE
    page = outputs.report.read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    for heading in (
        "Metrics",
        "Comparison",
        "Labels",
        "Calibration",
        "Slices",
        "Worst examples",
        "Suite: toxicity",
    ):
        assert f">{heading}</h2>" in page
    assert page.count("<svg") >= 4
    assert "exact_match is 0." in page
    with pytest.raises(GateError, match=r"below the minimum 0.99"):
        gates.require(found.gates)


def test_a_limit_takes_examples_from_everywhere() -> None:
    assert [each.id for each in limited(EXAMPLES, 3)] == ["0", "20", "40"]
    assert limited(EXAMPLES, None) == EXAMPLES
