"""What is told of a start: stage, amount, ETA."""

import io

import pytest

from slipway.local.display import PLAIN_EVERY_S, Display
from slipway.local.following import Line
from slipway.local.progress import Progress, amount, clock, describe, eta

LAST = {"resolve": 1.0, "download": 30.0, "import": 20.0, "load": 10.0, "total": 61.0}


def said(now: float, **event: object) -> Progress:
    return Progress(0).after({"event": "progress", "stage": "download", **event}, now)


def test_events_of_other_kinds_change_nothing() -> None:
    assert Progress(0).after({"event": "log", "stage": "load"}, 3) == Progress(0)


@pytest.mark.parametrize("value", ["1", True, float("nan"), -1, 1e30, None, [1]])
def test_numbers_that_are_none_are_ignored(value: object) -> None:
    assert said(0, done=value, total=value, eta_s=value) == said(0)


def test_the_seconds_of_each_stage_are_kept() -> None:
    progress = Progress(0)
    for now, stage in ((1, "resolve"), (3, "import"), (8, "import"), (10, "load")):
        progress = progress.after({"event": "progress", "stage": stage}, now)
    assert dict(progress.enter("", 14).durations) == {"resolve": 2, "import": 7, "load": 4}


@pytest.mark.parametrize(
    ("progress", "now", "last", "seconds"),
    [
        (Progress(0), 5, LAST, None),
        (said(0, eta_s=12), 2, LAST, 10 + 20 + 10),
        (said(0, eta_s=12), 20, LAST, None),
        (said(0), 10, LAST, 20 + 20 + 10),
        (said(0), 90, LAST, None),
        (said(0, eta_s=12), 2, {}, None),
        (said(0), 2, {"import": 1.0, "load": 1.0}, None),
        (said(0, stage="load"), 4, LAST, 6),
        (said(0, stage="load", eta_s=3), 1, {}, 2),
        (said(0, stage="warm up", eta_s=3), 1, {}, 2),
    ],
)
def test_the_eta_joins_the_stage_with_what_the_last_start_took(
    progress: Progress, now: float, last: dict[str, float], seconds: float | None
) -> None:
    assert eta(progress, now, last) == seconds


@pytest.mark.parametrize(
    ("progress", "last", "line"),
    [
        (Progress(0), {}, "starting, 0:07 so far"),
        (
            said(0, done=12.3e6, total=91.7e6, unit="B", eta_s=48),
            {},
            "download, 12.3 MB of 91.7 MB, 13 %, 0:07 so far",
        ),
        (said(0, stage="load", done=40, unit="%"), {}, "load, 40 %, 0:07 so far"),
        (said(0, stage="load"), LAST, "load, ETA 0:03, 0:07 so far, the last start took 61 s"),
        (said(0, done=0, unit="B"), {}, "download, 0:07 so far"),
        (said(0, done=5, unit="B"), {}, "download, 5 B, 0:07 so far"),
    ],
)
def test_the_line_for_people(progress: Progress, last: dict[str, float], line: str) -> None:
    assert describe(progress, 7, last) == line


def test_amounts_and_times_for_people() -> None:
    assert [amount(n) for n in (0, 999, 1e3, 1.5e9, 3e12)] == ["0 B", "999 B", "1.0 kB", "1.5 GB", "3.0 TB"]
    assert [clock(n) for n in (-1, 0, 59.6, 61, 3661)] == ["0:00", "0:00", "1:00", "1:01", "1:01:01"]


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_elsewhere_than_on_a_terminal_lines_come_now_and_then() -> None:
    out, time = io.StringIO(), Time()
    display = Display(out, live=False, clock=time)
    for now in range(8):
        time.now = now
        display.show([Line("a/0", "Starting", f"load, {now} %", False)])
    display.show([Line("a/0", "Ready", "", True)])
    display.show([Line("a/0", "Ready", "", True)])
    assert PLAIN_EVERY_S == 5
    assert out.getvalue().splitlines() == ["a/0: load, 0 %", "a/0: load, 5 %", "a/0: ready"]


def test_on_a_terminal_each_replica_has_one_line_that_lives() -> None:
    out = io.StringIO()
    display = Display(out, live=True)
    display.show([Line("a/0", "Starting", "load", False), Line("a/1", "Starting", "load", False)])
    display.show([Line("a/0", "Ready", "", True)])
    display.say("news")
    display.close()
    display.show([Line("a/0", "Ready", "", True)])
    display.say("later")
    assert out.getvalue() == (
        "a/0: load\na/1: load\n"
        + "\x1b[2F\x1b[J"
        + "a/0: ready\n"
        + "\x1b[1F\x1b[Jnews\na/0: ready\n"
        + "later\n"
    )


def test_a_terminal_that_is_gone_stops_nothing() -> None:
    out = io.StringIO()
    display = Display(out, live=True)
    out.close()
    display.show([Line("a/0", "Ready", "", True)])
    display.say("news")
