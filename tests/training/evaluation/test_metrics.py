"""Every metric beside the library that is its reference, on the same inputs."""

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer
from sklearn import metrics as sk

from slipway.training.errors import EvaluationError
from slipway.training.evaluation.examples import Example, Prediction
from slipway.training.evaluation.measures import Measure
from slipway.training.evaluation.metrics import METRICS, chosen
from slipway.training.evaluation.metrics.entities import entities
from slipway.training.evaluation.metrics.labels import BINS, per_label
from slipway.training.evaluation.questions import Reply
from training.evaluation.rows import likely, scored, tagged, written

WORDS = ("the", "cat", "sat", "on", "a", "mat", "while", "it", "rained", "over", "Paris,", "and", "3", "dogs")
LABELS = ("billing", "bug", "praise", "question")


def value(name: str, rows: list[Prediction]) -> float:
    return METRICS[name].measure(rows).value


def sentences(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Pairs of an answer and its reference that share much, little or nothing."""
    draw = random.Random(seed)
    pairs = [("", "the cat"), ("Ünïcode (你好)", "Ünïcode: 你好"), ("same words", "same words")]
    for _ in range(count):
        reference = draw.choices(WORDS, k=draw.randint(4, 14))
        answer = [word if draw.random() < 0.7 else draw.choice(WORDS) for word in reference]
        pairs.append((" ".join(answer[: draw.randint(3, 14)]), " ".join(reference)))
    return pairs


@pytest.mark.parametrize(
    ("name", "oracle"), [("bleu", sacrebleu.corpus_bleu), ("chrf", sacrebleu.corpus_chrf)]
)
def test_corpus_scores_are_sacrebleus(name: str, oracle: Callable[..., Any]) -> None:
    pairs = sentences(40)
    expected = oracle([answer for answer, _ in pairs], [[reference for _, reference in pairs]]).score
    assert value(name, written(pairs)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("name", "kind"), [("rouge1", "rouge1"), ("rouge2", "rouge2"), ("rougeL", "rougeL")])
def test_rouge_is_rouge_scores(name: str, kind: str) -> None:
    pairs = sentences(30)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    expected = np.mean([scorer.score(reference, answer)[kind].fmeasure for answer, reference in pairs])
    assert value(name, written(pairs)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("answer", "reference", "exact", "f1"),
    [
        (" Paris\n", "Paris", 1, 1),
        ("paris", "Paris", 0, 1),
        ("The capital: Paris!", "capital Paris", 0, 1),
        ("e\u0301", "\u00e9", 1, 0),  # One character written in two ways.
        ("Paris Paris", "Paris", 0, 2 / 3),
        ("", "Paris", 0, 0),
        ("", "", 1, 1),
        ("the", "a", 0, 1),
    ],
)
def test_exact_match_and_token_f1(answer: str, reference: str, exact: float, f1: float) -> None:
    rows = written([(answer, reference)])
    assert value("exact_match", rows) == exact
    assert value("token_f1", rows) == pytest.approx(f1)


@pytest.mark.parametrize("seed", range(3))
def test_label_scores_are_scikit_learns(seed: int) -> None:
    rows = scored(120, LABELS, seed)
    wanted = [each.example.reference for each in rows]
    got = [each.answer.text for each in rows]
    probabilities = np.array([[each.answer.scores[label] for label in LABELS] for each in rows])
    truth = np.array([[float(label == each) for label in LABELS] for each in wanted])
    options = {"labels": LABELS, "zero_division": 0}
    expected = {
        "accuracy": sk.accuracy_score(wanted, got),
        "auc": sk.roc_auc_score(wanted, probabilities, multi_class="ovr", labels=LABELS),
        "brier": np.mean(((probabilities - truth) ** 2).sum(axis=1)),
        "f1_weighted": sk.f1_score(wanted, got, average="weighted", **options),
    }
    for average in ("macro", "micro"):
        expected[f"precision_{average}"] = sk.precision_score(wanted, got, average=average, **options)
        expected[f"recall_{average}"] = sk.recall_score(wanted, got, average=average, **options)
        expected[f"f1_{average}"] = sk.f1_score(wanted, got, average=average, **options)
    assert {name: value(name, rows) for name in expected} == pytest.approx(expected, abs=1e-12)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(wanted, got, labels=LABELS)
    for at, measures in enumerate(per_label(rows).values()):
        assert {name: measure.value for name, measure in measures.items()} == pytest.approx(
            {"precision": precision[at], "recall": recall[at], "f1": f1[at]}
        )


def test_answers_that_are_no_label_count_against_recall_alone() -> None:
    rows = written([("bug", "bug"), ("I think it is a bug", "bug"), ("praise", "praise")])
    wanted, got = ["bug", "bug", "praise"], ["bug", "?", "praise"]
    for name, oracle in (("f1_micro", sk.f1_score), ("precision_micro", sk.precision_score)):
        expected = oracle(wanted, got, labels=["bug", "praise"], average="micro")
        assert value(name, rows) == pytest.approx(expected)


def test_area_under_the_curve_of_two_labels_with_ties() -> None:
    rows = scored(80, ("no", "yes"))
    scores = [each.answer.scores["yes"] for each in rows]
    assert len(set(scores)) < len(scores)
    truth = [each.example.reference == "yes" for each in rows]
    assert value("auc", rows) == pytest.approx(sk.roc_auc_score(truth, scores))


def test_area_under_the_curve_by_weights_is_scikit_learns() -> None:
    rows = scored(60, ("no", "yes"))
    weights = np.random.default_rng(1).integers(0, 4, size=(5, 60)).astype(float)
    scores = [each.answer.scores["yes"] for each in rows]
    truth = [each.example.reference == "yes" for each in rows]
    expected = [sk.roc_auc_score(truth, scores, sample_weight=each) for each in weights]
    assert METRICS["auc"].measure(rows).values(weights) == pytest.approx(expected)


def test_calibration_error_is_the_formula() -> None:
    """sum over bins of n_b / n * |accuracy - confidence|, the bins by scikit-learn."""
    from sklearn.calibration import calibration_curve

    rows = scored(200, ("no", "yes"))
    confidence = np.array([max(each.answer.scores.values()) for each in rows])
    right = np.array([each.answer.text == each.example.reference for each in rows])
    # Its bins hold their lower ends, ours the upper ones: a hair below is in the same bin of both.
    below = confidence - 1e-9
    accuracy, mean = calibration_curve(right, below, n_bins=BINS)
    sizes = np.histogram(below, bins=np.linspace(0, 1, BINS + 1))[0]
    expected = (sizes[sizes > 0] / len(rows) * np.abs(accuracy - mean)).sum()
    assert value("ece", rows) == pytest.approx(expected, abs=1e-6)


def test_a_perfectly_calibrated_model_has_no_calibration_error() -> None:
    rows = [
        Prediction(Example(str(at), "classify", reference=label), Reply("a", scores={"a": 0.75, "b": 0.25}))
        for at, label in enumerate("aaab")
    ]
    assert value("ece", rows) == pytest.approx(0)
    assert value("brier", rows) == pytest.approx((3 * 0.125 + 1.125) / 4)


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-PER I-PER O B-LOC", {("PER", 0, 1), ("LOC", 3, 3)}),
        ("O I-PER I-PER O", {("PER", 1, 2)}),  # Begins without its B-.
        ("B-PER I-LOC", {("PER", 0, 0), ("LOC", 1, 1)}),
        ("B-PER B-PER", {("PER", 0, 0), ("PER", 1, 1)}),
        ("S-PER B-LOC E-LOC E-LOC", {("PER", 0, 0), ("LOC", 1, 2), ("LOC", 3, 3)}),
        ("B-A-B I-A-B", {("A-B", 0, 1)}),
        ("O O", set()),
    ],
)
def test_entities_are_conlls(tags: str, found: set[tuple[str, int, int]]) -> None:
    assert entities(tags.split()) == found


def test_entity_scores_count_whole_entities() -> None:
    """The example of seqeval's documentation: precision, recall and F1 are 0.5, accuracy 0.8."""
    right, found = "O O O B-MISC I-MISC I-MISC O", "O O B-MISC I-MISC I-MISC I-MISC O"
    person = ["B-PER", "I-PER", "O"]
    rows = tagged([(found.split(), right.split()), (person, person)])
    for name in ("entity_precision", "entity_recall", "entity_f1"):
        assert value(name, rows) == 0.5
    assert value("tag_accuracy", rows) == 0.8


def test_perplexity_and_bits_per_byte_are_over_all_tokens() -> None:
    rows = likely([("abcd", -4.0, 2), ("é" * 8, -2.0, 6)])
    assert value("perplexity", rows) == pytest.approx(math.exp(6 / 8))
    assert value("bits_per_byte", rows) == pytest.approx(6 / math.log(2) / 20)


def test_preferences_are_told_by_the_mean_over_tokens() -> None:
    def row(chosen: tuple[float, int], rejected: tuple[float, int]) -> Prediction:
        liked, disliked = (Reply(logprob=each[0], tokens=each[1]) for each in (chosen, rejected))
        return Prediction(Example("1", "generate"), likelihood=liked, rejected=disliked)

    rows = [row((-4, 4), (-3, 1)), row((-4, 1), (-4, 4)), row((-2, 2), (-1, 1))]
    assert np.array_equal(METRICS["preference_accuracy"].measure(rows).rows, [1, 0, 0.5])


def test_a_slice_is_what_its_rows_alone_would_give() -> None:
    rows = scored(90, LABELS)
    members = [at % 3 == 0 for at in range(90)]
    some = [row for row, member in zip(rows, members, strict=True) if member]
    for name in ("accuracy", "f1_macro", "precision_micro", "auc", "ece", "brier"):
        assert METRICS[name].measure(rows).over(members) == pytest.approx(value(name, some)), name


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_says_what_it_is_and_which_way_is_better(name: str) -> None:
    metric = METRICS[name]
    rows = {
        "generate": written(sentences(4)),
        "classify": scored(9, LABELS),
        "tag": tagged([(["O"], ["O"])]),
        "text": likely([("ab", -1.0, 1)]),
    }["classify" if metric.needs == "scores" else min(metric.tasks)]
    measure: Measure = metric.measure(rows)
    assert metric.meaning
    assert measure.better == metric.better


def test_a_metric_that_is_not_there_names_a_near_one() -> None:
    with pytest.raises(EvaluationError, match=r"no metric exact_mach; did you mean exact_match\?"):
        chosen(["exact_mach"], "generate")


def test_a_metric_that_does_not_fit_the_task_names_those_that_do() -> None:
    with pytest.raises(
        EvaluationError, match="bleu says nothing about the task tag; what does is entity_precision"
    ):
        chosen(["bleu"], "tag")
