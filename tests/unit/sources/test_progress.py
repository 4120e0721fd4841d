import threading

import pytest

from slipway.sources import FetchCancelledError, Progress
from slipway.sources.progress import Meter, check, wait


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_reports_a_few_times_a_second_with_an_eta() -> None:
    clock, reports = Clock(), list[Progress]()
    meter = Meter(reports.append, "download", 1000, "m", clock=clock)
    for _ in range(100):
        clock.now += 0.01
        meter.add(1)
    assert 4 <= len(reports) <= 7
    assert reports[0].eta_s is None
    assert reports[-1].eta_s == pytest.approx(9, rel=0.1)


def test_eta_follows_a_changed_rate_smoothly() -> None:
    clock, reports = Clock(), list[Progress]()
    meter = Meter(reports.append, "download", 10_000, "m", clock=clock)

    def run(seconds: int, rate: int) -> float:
        for _ in range(seconds):
            clock.now += 1
            meter.add(rate)
        assert reports[-1].eta_s is not None
        return (10_000 - meter.done) / reports[-1].eta_s

    assert run(10, 100) == pytest.approx(100)
    assert 50 < run(1, 10) < 100
    assert run(30, 10) == pytest.approx(10, rel=0.2)


def test_what_an_earlier_attempt_left_is_no_rate() -> None:
    clock, reports = Clock(), list[Progress]()
    meter = Meter(reports.append, "download", 1000, "m", done=900, clock=clock)
    clock.now = 1
    meter.add(10)
    assert reports[-1].done == 910
    assert reports[-1].eta_s == pytest.approx(9)


def test_what_is_skipped_in_between_is_no_rate() -> None:
    clock, reports = Clock(), list[Progress]()
    meter = Meter(reports.append, "download", 1000, "m", clock=clock)
    clock.now = 1
    meter.add(10)
    meter.skip(890)
    clock.now = 2
    meter.add(10)
    assert reports[-1].done == 910
    assert reports[-1].eta_s == pytest.approx(9)


def test_counts_from_many_threads() -> None:
    meter = Meter(lambda _: None, "download", None, "m")

    def count() -> None:
        for _ in range(2000):
            meter.add(1)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert meter.done == 16_000


def test_cancelling_ends_a_wait() -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(FetchCancelledError):
        wait(3600, cancelled)
    with pytest.raises(FetchCancelledError):
        check(cancelled)
    check(None)
