"""How far a start is: an engine's progress events, and when it will be ready."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

STAGES = ("resolve", "download", "convert", "import", "load")
EVERY_START = ("import", "load")
"""Stages that no cache saves a later start from."""


@dataclass(frozen=True)
class Progress:
    """What an engine said last. Times are those of one monotonic clock."""

    started: float
    stage: str = ""
    stage_since: float = 0
    done: float | None = None
    total: float | None = None
    unit: str = ""
    eta_s: float | None = None
    said_at: float = 0
    message: str = ""
    durations: tuple[tuple[str, float], ...] = ()
    """Seconds of the stages that are over."""

    def after(self, event: Mapping[str, Any], now: float) -> "Progress":
        """The progress after one event of the engine's log; events of other kinds change nothing."""
        if event.get("event") != "progress":
            return self
        stage = str(event.get("stage") or "")
        changed = self if stage == self.stage else self.enter(stage, now)
        unit = event.get("unit")
        return replace(
            changed,
            done=_number(event.get("done")),
            total=_number(event.get("total")),
            unit=unit if isinstance(unit, str) else "",
            eta_s=_number(event.get("eta_s")),
            said_at=now,
            message=str(event.get("message") or "")[:200],
        )

    def enter(self, stage: str, now: float) -> "Progress":
        """The progress at the begin of `stage`; the one before it is over."""
        over = dict(self.durations)
        if self.stage:
            over[self.stage] = over.get(self.stage, 0) + round(now - self.stage_since, 1)
        return Progress(self.started, stage, now, durations=tuple(over.items()))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e18 else None


def eta(progress: Progress, now: float, last: Mapping[str, float]) -> float | None:
    """Seconds until ready, or None where that cannot be told, or was told and has not come true.

    The engine's own estimate of the stage counts, else how long the stage took at the `last` start (stage to
    seconds); what comes after the stage is taken from the last start.
    """
    if not progress.stage:
        return None
    if progress.eta_s is not None:
        current = progress.eta_s - (now - progress.said_at)
    elif progress.stage in last:
        current = last[progress.stage] - (now - progress.stage_since)
    else:
        return None
    at = STAGES.index(progress.stage) if progress.stage in STAGES else len(STAGES)
    later = [stage for stage in STAGES[at + 1 :] if stage in EVERY_START]
    if current < 0 or any(stage not in last for stage in later):
        return None
    return current + sum(last[stage] for stage in later)


def describe(progress: Progress, now: float, last: Mapping[str, float]) -> str:
    """One line for people: stage, amount, share, ETA, time so far."""
    parts = [progress.stage or "starting"]
    done, total = progress.done, progress.total
    if progress.unit == "B" and done:
        parts.append(f"{amount(done)} of {amount(total)}" if total else amount(done))
    if done is not None and total:
        parts.append(f"{min(100, round(100 * done / total))} %")
    elif progress.unit == "%" and done is not None:
        parts.append(f"{min(100, round(done))} %")
    rest = eta(progress, now, last)
    if rest is not None:
        parts.append(f"ETA {clock(rest)}")
    parts.append(f"{clock(now - progress.started)} so far")
    if "total" in last:
        parts.append(f"the last start took {round(last['total'])} s")
    return ", ".join(parts)


def amount(size: float | None) -> str:
    """Bytes for people."""
    size = size or 0
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours, minutes and seconds."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
