"""The report of a search: its table and its pictures, in one HTML file."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.training import reports
from slipway.training.runs import write_atomically
from slipway.training.search.trials import Board

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {"Succeeded": "#2f7fd1", "Stopped": "#d98b1f", "Running": "#888888", "Failed": "#c0392b"}


def write_report(path: Path, title: str, board: Board, importance: dict[str, float]) -> None:
    """Write a search's report.

    Args:
        path: of the file.
        title: name of the run.
        board: the trials.
        importance: share of each parameter in the objective's variance; empty where it is not known.
    """
    sections = [("Result", _summary(board)), ("Trials", _table(board))]
    if any(trial.value is not None for trial in board.trials):
        sections += [
            ("History", reports.figure(_history(board), "The objective of each trial, and the best so far")),
            ("Evaluations", reports.figure(_curves(board), "The objective at each evaluation of each trial")),
            (
                "Parallel coordinates",
                reports.figure(_parallel(board), "Parameters of each trial, by colour of its objective"),
            ),
        ]
    if importance:
        picture = reports.figure(
            _importance(importance), "Share of each parameter in the objective's variance"
        )
        note = reports.paragraph(
            "By fANOVA over the trials that were done (Hutter et al. 2014). With few trials it is but a hint."
        )
        sections.append(("Importance", picture + note))
    write_atomically(path, reports.page(f"Search: {title}", sections))


def _summary(board: Board) -> str:
    best = board.best
    counts = {phase: sum(trial.phase == phase for trial in board.trials) for phase in _COLOURS}
    pairs: list[tuple[str, reports.Cell]] = [
        ("Objective", f"{board.goal} {board.metric}"),
        ("Trials", ", ".join(f"{count} {phase.lower()}" for phase, count in counts.items() if count)),
        ("Time", f"{board.seconds:.0f} s"),
    ]
    if best is None:
        return reports.facts(pairs) + reports.notice("No trial succeeded.", error=True)
    pairs.append(("Best", f"{best.name}: {board.metric} {best.value:.6g}"))
    pairs += list(best.parameters.items())
    return reports.facts(pairs)


def _table(board: Board) -> str:
    names = _parameters(board)
    rows: list[list[reports.Cell]] = [
        [
            trial.name,
            trial.phase,
            *(trial.parameters[name] for name in names),
            trial.value,
            len(trial.history),
            round(trial.seconds, 1),
            trial.message,
        ]
        for trial in board.ranked()
    ]
    return reports.table(["trial", "phase", *names, board.metric, "evaluations", "seconds", "remark"], rows)


def _history(board: Board) -> "Figure":
    figure, axes = reports.chart()
    better = min if board.goal == "minimize" else max
    numbers: list[int] = []
    values: list[float] = []
    for trial in board.trials:
        if trial.value is not None:
            axes.plot(trial.number, trial.value, "o", color=_COLOURS[trial.phase], markersize=5)
        if trial.phase == "Succeeded" and trial.value is not None:
            numbers.append(trial.number)
            values.append(better([trial.value, *values[-1:]]))
    axes.step(numbers, values, where="post", color=_COLOURS["Succeeded"], linewidth=1.2)
    axes.set(
        xlabel="trial", ylabel=board.metric, title="Each trial (orange: stopped early) and the best so far"
    )
    return figure


def _curves(board: Board) -> "Figure":
    figure, axes = reports.chart()
    best = board.best
    for trial in board.trials:
        chosen = trial is best
        axes.plot(
            list(trial.history),
            list(trial.history.values()),
            "o-",
            markersize=3,
            color=_COLOURS[trial.phase],
            linewidth=2.2 if chosen else 0.8,
            alpha=1.0 if chosen else 0.55,
        )
    axes.set(xlabel="evaluation", ylabel=board.metric, title="The way of each trial (thick: the best)")
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def _importance(importance: dict[str, float]) -> "Figure":
    figure, axes = reports.chart(height=0.9 + 0.35 * len(importance))
    axes.barh(list(importance)[::-1], list(importance.values())[::-1], color=_COLOURS["Succeeded"])
    axes.set(xlim=(0, 1), title="Importance")
    return figure


def _parallel(board: Board) -> "Figure":
    """One axis a parameter and one for the objective, each from its lowest to its highest value."""
    from matplotlib import colormaps

    figure, axes = reports.chart(width=7.0, height=3.6)
    trials = [trial for trial in board.trials if trial.value is not None and trial.phase == "Succeeded"]
    columns = {name: _Scale([trial.parameters[name] for trial in trials]) for name in _parameters(board)}
    objective = _Scale([f"{trial.value:.6g}" for trial in trials])
    shades = colormaps["viridis"]
    for trial in trials:
        end = objective.place(f"{trial.value:.6g}")
        heights = [scale.place(trial.parameters[name]) for name, scale in columns.items()]
        axes.plot(
            range(len(columns) + 1), [*heights, end], color=shades(0.9 * end), linewidth=1.3, alpha=0.85
        )
    for place, scale in enumerate([*columns.values(), objective]):
        axes.axvline(place, color="#808080", linewidth=0.8)
        for text in scale.ends:
            height = scale.place(text)
            axes.annotate(text, (place, height), (4, 3), textcoords="offset points", fontsize=7)
    axes.set_xticks(range(len(columns) + 1), [*columns, board.metric], fontsize=8)
    axes.set(yticks=[], xlim=(-0.1, len(columns) + 0.4), title="Parameters of the trials that were done")
    return figure


class _Scale:
    """Where values stand on an axis, from 0 to 1: numbers by size (by magnitude where they span two decades),
    words in a row."""

    def __init__(self, texts: list[str]) -> None:
        self._numbers = {text: number for text in texts if (number := _number(text)) is not None}
        self._words = sorted(set(texts)) if len(self._numbers) < len(set(texts)) else []
        values = list(self._numbers.values())
        self._log = bool(values) and min(values) > 0 and max(values) >= 100 * min(values)
        ordered = self._words or sorted(self._numbers, key=self._numbers.__getitem__)
        self.ends = ordered if self._words else list(dict.fromkeys(ordered[:1] + ordered[-1:]))

    def place(self, text: str) -> float:
        if self._words:
            return self._words.index(text) / max(len(self._words) - 1, 1)
        low, high = (self._scaled(self._numbers[end]) for end in (self.ends[0], self.ends[-1]))
        return (self._scaled(self._numbers[text]) - low) / (high - low) if high > low else 0.5

    def _scaled(self, number: float) -> float:
        return math.log10(number) if self._log else number


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _parameters(board: Board) -> list[str]:
    return list(board.trials[0].parameters) if board.trials else []
