"""How a training looks on a terminal: a bar with the time left, and the curve of the loss as it falls."""

import shutil
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from slipway.training.runs import Progress, Run

_PLAIN_EVERY = 10.0
"""Seconds between two lines where no terminal is."""
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_HEIGHT = 6
_LABEL = 9
"""Characters of a number beside the curve."""


class Screen:
    """Shows a run's events, progress and loss: live on a terminal, a line now and then elsewhere."""

    def __init__(
        self, stream: TextIO, run: Run, live: bool | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._run = run
        self._live = stream.isatty() if live is None else live
        self._clock = clock
        self._events = sum(1 for _ in run.events())
        self._drawn: list[str] = []
        self._said_at = clock()
        self._said = ""

    def show(self, *, stopping: bool = False) -> None:
        """Draw what is new."""
        events = list(self._run.events())
        news = [event["message"] for event in events[self._events :]]
        self._events = len(events)
        progress = self._run.progress()
        if self._live:
            self._draw(news, progress, stopping=stopping)
            return
        for message in news:
            self._write(f"{message}\n")
        now = self._clock()
        line = progress_line(progress, width=100) if progress else ""
        if line and line != self._said and now - self._said_at >= _PLAIN_EVERY:
            self._write(f"{line}\n")
            self._said, self._said_at = line, now

    def close(self) -> None:
        """What is drawn stays."""
        self._drawn = []

    def _draw(self, news: Sequence[str], progress: Progress | None, *, stopping: bool) -> None:
        width = shutil.get_terminal_size().columns - 1
        lines: list[str] = []
        if progress is not None:
            if progress.stage in ("train", "search"):
                losses = [(line["step"], line["loss"]) for line in self._run.metrics() if "loss" in line]
                lines += curve(losses, width=min(width, 100), height=_HEIGHT) if len(losses) > 1 else []
            lines.append(progress_line(progress, width))
        if stopping:
            lines.append("Stopping at the next safe point; Ctrl-C again ends it at once.")
        if lines == self._drawn and not news:
            return
        if self._drawn:
            self._write(f"\x1b[{len(self._drawn)}F\x1b[J")
        self._write("".join(f"{text}\n" for text in (*news, *lines)))
        self._drawn = lines

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def progress_line(progress: Progress, width: int) -> str:
    """One line: what is done, how far, how long it takes, the newest figures."""
    parts = [f"{progress.stage}: {progress.message}"]
    if progress.total_steps:
        parts.append(
            f"{progress.step}/{progress.total_steps} {100 * progress.step // progress.total_steps} %"
        )
    if progress.eta_seconds is not None:
        parts.append(f"{duration(progress.eta_seconds)} left")
    figures = progress.metrics
    parts += [f"{name} {figures[name]:.4g}" for name in ("loss", "eval_loss") if name in figures]
    if "tokens_per_second" in figures:
        parts.append(f"{figures['tokens_per_second']:.0f} tokens/s")
    return ", ".join(parts)[:width]


def duration(seconds: float) -> str:
    """A time span as `1h05m`, `2m30s` or `12s`."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{whole % 60:02d}s" if minutes else f"{whole}s"


def curve(points: Sequence[tuple[int, float]], width: int, height: int) -> list[str]:
    """A column for each stretch of steps, as high as the mean of its values; lines of text.

    The axis begins at the lowest value, so the shape is seen also where all are far from zero.
    """
    columns = max(1, min(width - _LABEL - 1, len(points)))
    means = []
    for at in range(columns):
        stretch = points[at * len(points) // columns : (at + 1) * len(points) // columns]
        means.append(sum(value for _, value in stretch) / len(stretch))
    low, high = min(means), max(means)
    scale = (height * 8 - 1) / (high - low) if high > low else 0.0
    levels = [1 + round((value - low) * scale) for value in means]
    lines = []
    for row in reversed(range(height)):
        cells = "".join(_EIGHTHS[max(0, min(8, level - 8 * row))] for level in levels)
        label = f"{high:.3g}" if row == height - 1 else f"{low:.3g}" if row == 0 else ""
        lines.append(f"{label:>{_LABEL}} {cells}".rstrip())
    return [*lines, f"{'loss':>{_LABEL}} steps {points[0][0]} to {points[-1][0]}"]
