"""The evaluation as an HTML page: figures with intervals, pictures, the worst examples."""

from collections.abc import Iterator, Sequence
from math import isnan
from typing import Any

import numpy as np

from slipway.training import reports
from slipway.training.evaluation.examples import Prediction
from slipway.training.evaluation.intervals import Score
from slipway.training.evaluation.metrics import METRICS
from slipway.training.evaluation.metrics.labels import BINS, calibration, labels_of
from slipway.training.evaluation.metrics.texts import plain
from slipway.training.evaluation.predicting import MOST_LABELS
from slipway.training.evaluation.results import Evaluation
from slipway.training.reports import HTML, Cell

_WORST = 25
_LONGEST = 600
"""Characters of a text that are shown."""
_INK = "#0b5cad"


def report(found: Evaluation) -> str:
    """The whole page."""
    sections = list(_sections(found))
    return reports.page(f"Evaluation of {found.model}", sections)


def _sections(found: Evaluation) -> Iterator[tuple[str, str]]:
    yield "Result", _result(found)
    if found.scores:
        yield "Metrics", _metrics(found)
    if found.comparisons:
        yield "Comparison", "".join(_comparison(found, rival) for rival in found.comparisons)
    if found.per_label:
        yield "Labels", _labels(found)
    scored = [each for each in found.predictions if each.answer.scores]
    if scored:
        yield "Calibration", _calibration(scored)
    if found.slices:
        yield "Slices", _slices(found)
    if found.predictions and found.task == "generate":
        yield "Lengths", _lengths(found.predictions)
    if found.predictions:
        yield "Worst examples", _worst(found)
    for name, suite in found.suites.items():
        rows = [(metric, *_cells(score)) for metric, score in suite.scores.items()]
        body = "".join(map(reports.paragraph, suite.notes)) + reports.table(_HEAD, rows)
        if suite.rows:
            shown = [tuple(_short(cell) for cell in row) for row in suite.rows]
            body += reports.details("Examples", reports.table(suite.head, shown))
        yield f"Suite: {name}", body


_HEAD = ("metric", "value", "95 % interval", "rows", "better")


def _result(found: Evaluation) -> str:
    if found.gates:
        failed = [each.message for each in found.gates if not each.passed]
        text = " ".join(failed) or "Every gate is passed."
        verdict: str = reports.notice(text, error=True) if failed else reports.paragraph(text)
        rows = [
            (each.metric, each.bound, each.value, _mark(each.passed), each.message) for each in found.gates
        ]
        verdict += reports.table(("metric", "bound", "value", "passed", "in words"), rows, "Gates")
    else:
        verdict = reports.paragraph("No gate was asked for.")
    facts: list[tuple[str, Cell]] = [
        ("Model", found.model),
        ("Data", found.data),
        ("Task", found.task),
        ("Examples", len(found.predictions)),
        ("Without answer", sum(bool(each.answer.error) for each in found.predictions)),
    ]
    if found.test_reads:
        facts.append(("Evaluations that have read this test part", found.test_reads))
    notes = "".join(map(reports.notice, found.notes))
    if found.test_reads > _OFTEN:
        notes += reports.notice(
            f"This test part was read by {found.test_reads} evaluations. The more choices are made by it, the"
            " less it is held out: take a new one."
        )
    return verdict + reports.facts(facts) + notes


_OFTEN = 10


def _metrics(found: Evaluation) -> str:
    own = {
        name: score for name, score in found.scores.items() if name in METRICS or name.startswith("judge.")
    }
    if not own:
        return reports.paragraph("No metric of the test part was asked for.")
    body = reports.table(_HEAD, [(name, *_cells(score)) for name, score in own.items()])
    meanings = [(name, METRICS[name].meaning) for name in own if name in METRICS]
    return body + reports.details("What they mean", reports.facts(meanings))


def _comparison(found: Evaluation, rival: Any) -> str:
    rows = []
    for name, each in found.comparisons[rival].items():
        interval = "" if isnan(each.low) else f"{each.low:+.4g} to {each.high:+.4g}"
        verdict = "better" if each.gain > 0 else "worse" if each.gain < 0 else "the same"
        clear = f"{verdict}, significantly" if each.p < 0.05 and each.gain else verdict
        rows.append((name, each.ours, each.theirs, each.difference, interval, each.p, clear, each.test))
    head = ("metric", found.model, found.rivals[rival], "difference", "95 % interval", "p", "", "test")
    return reports.table(head, rows, f"Beside {'the base' if rival == 'base' else 'what is deployed'}")


def _labels(found: Evaluation) -> str:
    rows = []
    for label, scores in found.per_label.items():
        rows.append((label, *(_interval(scores[name]) for name in ("precision", "recall", "f1"))))
    return reports.table(("label", "precision", "recall", "F1"), rows) + _confusion(found.predictions)


def _confusion(predictions: Sequence[Prediction]) -> HTML:
    """Which labels were taken for which; answers that are no label in a column of their own."""
    labels = labels_of(predictions)[:MOST_LABELS]
    at = {label: place for place, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels) + 1))
    for each in predictions:
        wanted = at.get(plain(each.example.reference))
        if wanted is not None:
            matrix[wanted, at.get(plain(each.answer.text), len(labels))] += 1
    side = max(3.2, 0.45 * len(labels) + 1.6)
    figure, axes = reports.chart(side + 1, side)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    # Coloured squares and not an image, so that the page stays vectors alone.
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1.4, edgecolors="#80808040", linewidth=0.5)
    for row, column in np.argwhere(matrix > 0):
        axes.text(column + 0.5, row + 0.5, f"{matrix[row, column]:.0f}", ha="center", va="center", fontsize=8)
    names = [_short(label, 18) for label in labels]
    axes.set_xticks(
        np.arange(len(labels) + 1) + 0.5, [*names, "(other)"], rotation=60, ha="right", fontsize=8
    )
    axes.set_yticks(np.arange(len(labels)) + 0.5, names, fontsize=8)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.set_xlabel("given")
    axes.set_ylabel("right")
    return reports.figure(figure, "Confusion matrix: right labels in rows, given ones in columns")


def _calibration(scored: Sequence[Prediction]) -> str:
    confidence, right, bins = calibration(scored)
    figure, axes = reports.chart(4.6, 3.6)
    axes.plot([0, 1], [0, 1], color="#808080", linewidth=0.8, linestyle="--")
    for place in range(BINS):
        own = bins == place
        if own.any():
            axes.bar((place + 0.5) / BINS, right[own].mean(), 0.9 / BINS, color=_INK, alpha=0.65)
            axes.plot([(place + 0.5) / BINS], [confidence[own].mean()], "o", color="#b3261e", markersize=3)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="probability of the top label", ylabel="share that is right")
    text = (
        "Bars: how often the top label is right; dots: its mean probability. They meet if it is calibrated."
    )
    return reports.figure(figure, "Reliability diagram") + reports.paragraph(text)


def _slices(found: Evaluation) -> str:
    body = ""
    names = list(next(iter(found.slices)).scores)
    for field in dict.fromkeys(each.field for each in found.slices):
        own = [each for each in found.slices if each.field == field]
        rows = [
            (
                each.value,
                each.count,
                "small" if each.small else "",
                *(_interval(each.scores[n]) for n in names),
            )
            for each in own
        ]
        body += reports.table((field, "examples", "", *names), rows) + _bars(field, names[0], own)
    return body


def _bars(field: str, metric: str, own: Sequence[Any]) -> HTML:
    shown = own[:20]
    figure, axes = reports.chart(7.0, 0.6 + 0.32 * len(shown))
    for place, each in enumerate(shown):
        score = each.scores[metric]
        if isnan(score.value):
            continue
        axes.barh(place, score.value, color=_INK, alpha=0.35 if each.small else 0.75)
        if not isnan(score.low):
            axes.plot([score.low, score.high], [place, place], color="#808080", linewidth=1.5)
    axes.set_yticks(range(len(shown)), [_short(each.value, 30) for each in shown], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(metric)
    return reports.figure(figure, f"{metric} by {field}, with 95 % intervals; small slices are pale")


def _lengths(predictions: Sequence[Prediction]) -> str:
    answers = [len(each.answer.text) for each in predictions]
    wanted = [len(each.example.reference) for each in predictions]
    figure, axes = reports.chart()
    edges = np.histogram_bin_edges([*answers, *wanted], bins=24)
    axes.hist([wanted, answers], bins=edges, label=["reference", "answer"], color=["#808080", _INK])
    axes.set(xlabel="characters", ylabel="examples")
    axes.legend(frameon=False)
    return reports.figure(figure, "Lengths of answers and references")


def _worst(found: Evaluation) -> str:
    """Those that are furthest from right."""
    order = sorted(
        range(len(found.predictions)), key=lambda at: _badness(found.predictions[at]), reverse=True
    )
    rows = []
    for at in order[:_WORST]:
        each = found.predictions[at]
        if _badness(each) <= 0 and found.task != "text":
            break
        wanted, got = each.example.reference or " ".join(each.example.tags), each.answer
        answer = got.error or got.text or " ".join(got.tags)
        told = each.likelihood
        nats = -told.logprob / told.tokens if told and told.logprob is not None and told.tokens else None
        rows.append((each.example.place, _short(each.example.shown), _short(wanted), _short(answer), nats))
    if not rows:
        return reports.paragraph("Every answer is right.")
    return reports.table(("place", "asked", "right", "answer", "nats per token"), rows)


def _badness(prediction: Prediction) -> float:
    """0 for what is right, more for what is further from it."""
    told = prediction.likelihood
    nats = -told.logprob / told.tokens if told and told.logprob is not None and told.tokens else 0.0
    example = prediction.example
    match example.task:
        case "text":
            return nats
        case "tag":
            return float(sum(map(str.__ne__, prediction.answer.tags, example.tags)))
        case "classify":
            # What is wrong and sure of it stands first.
            wrong = plain(prediction.answer.text) != plain(example.reference)
            return wrong * (1 + max(prediction.answer.scores.values(), default=0.0))
        case _:
            wrong = plain(prediction.answer.text) != plain(example.reference)
            return wrong * (1 + nats)


def _cells(score: Score) -> tuple[Cell, ...]:
    value = None if isnan(score.value) else score.value
    interval = None if isnan(score.low) else f"{score.low:.4g} to {score.high:.4g}"
    return value, interval, score.count, score.better


def _interval(score: Score) -> str:
    if isnan(score.value):
        return "?"
    return f"{score.value:.3g}" + ("" if isnan(score.low) else f" ({score.low:.3g} to {score.high:.3g})")


def _mark(passed: bool) -> HTML:
    return HTML('<span class="good">yes</span>' if passed else '<span class="bad">no</span>')


def _short(value: Any, most: int = _LONGEST) -> Any:
    if isinstance(value, str) and len(value) > most:
        return f"{value[: most - 1]}…"
    return value
