"""What a fetch tells while it runs."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from slipway.sources.errors import FetchCancelledError

Stage = Literal["resolve", "download", "convert"]

_REPORT_EVERY_S = 0.2
_SMOOTHING_S = 5.0
"""A rate's half of what was seen is younger than about this."""


@dataclass(frozen=True)
class Progress:
    """How far one stage is. `done` and `total` count bytes; a stage that cannot be counted has no total."""

    stage: Stage
    done: int = 0
    total: int | None = None
    unit: Literal["B"] = "B"
    eta_s: float | None = None
    """Seconds until the stage ends, from a smoothed rate."""
    message: str = ""


Report = Callable[[Progress], None]


class Meter:
    """Counts a stage's bytes, from any thread, and reports a few times a second with a smoothed ETA."""

    def __init__(
        self,
        report: Report,
        stage: Stage,
        total: int | None,
        message: str,
        *,
        done: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report = report
        self._stage = stage
        self._total = total
        self._message = message
        self._done = done
        self._clock = clock
        self._lock = threading.Lock()
        self._rate: float | None = None
        self._at = clock()
        self._counted = done
        self._emit()

    @property
    def done(self) -> int:
        """Bytes so far, those of an earlier attempt included."""
        return self._done

    def add(self, count: int) -> None:
        """Count `count` more bytes (fewer, if negative: a file that had to start again)."""
        with self._lock:
            self._move(self._done + count)

    def skip(self, count: int) -> None:
        """Count bytes that an earlier attempt brought; they say nothing of the rate."""
        with self._lock:
            self._counted += count
            self._move(self._done + count)

    def move(self, done: int) -> None:
        """Set the count."""
        with self._lock:
            self._move(done)

    def close(self) -> None:
        """Report the last state, whatever the time."""
        with self._lock:
            self._emit()

    def _move(self, done: int) -> None:
        self._done = done
        elapsed = self._clock() - self._at
        if elapsed < _REPORT_EVERY_S:
            return
        seen = max(0, done - self._counted) / elapsed
        share = 1.0 if self._rate is None else elapsed / (elapsed + _SMOOTHING_S)
        self._rate = seen * share + (self._rate or 0.0) * (1 - share)
        self._at += elapsed
        self._counted = done
        self._emit()

    def _emit(self) -> None:
        eta = None
        if self._rate and self._total is not None:
            eta = max(0, self._total - self._done) / self._rate
        self._report(Progress(self._stage, self._done, self._total, "B", eta, self._message))


def check(cancelled: threading.Event | None) -> None:
    """Raise FetchCancelledError where the caller asked to stop."""
    if cancelled is not None and cancelled.is_set():
        raise FetchCancelledError(
            "The fetch was cancelled; what was downloaded so far is kept for the next attempt."
        )


def wait(seconds: float, cancelled: threading.Event | None) -> None:
    """Wait, unless cancelled meanwhile."""
    if cancelled is None:
        time.sleep(seconds)
    elif cancelled.wait(seconds):
        check(cancelled)
