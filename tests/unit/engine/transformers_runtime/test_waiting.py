"""The queue between the event loop and the worker."""

import threading
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.engine.transformers_runtime.errors import RequestError
from slipway.engine.transformers_runtime.waiting import Waiting, fitting


@dataclass(eq=False)
class Text:
    length: int
    cancelled: bool = False


@given(st.lists(st.integers(1, 500), min_size=1), st.integers(1, 20), st.integers(1, 2000))
def test_a_batch_keeps_its_bounds_and_takes_all_that_fits(lengths: list[int], rows: int, tokens: int) -> None:
    count = fitting(lengths, rows, tokens)
    assert 1 <= count <= rows
    assert count == 1 or count * max(lengths[:count]) <= tokens
    if count < min(rows, len(lengths)):
        assert (count + 1) * max(lengths[: count + 1]) > tokens


def test_first_come_first_served() -> None:
    waiting = Waiting[Text](10)
    texts = [Text(each) for each in (3, 1, 2)]
    waiting.put(texts[:2])
    waiting.put(texts[2:])
    assert waiting.take(2, 100) == texts[:2]
    assert waiting.take(2, 100) == texts[2:]
    assert waiting.take(2, 100) == []


def test_a_request_is_taken_whole_and_the_next_one_turned_away() -> None:
    waiting = Waiting[Text](2)
    waiting.put([Text(1) for _ in range(5)])
    with pytest.raises(RequestError) as caught:
        waiting.put([Text(1)])
    assert (caught.value.status, caught.value.retry_after) == (503, 1)
    assert len(waiting) == 5


def test_one_that_is_cancelled_leaves_and_makes_room() -> None:
    waiting = Waiting[Text](1)
    gone, stays = Text(1), Text(1)
    waiting.put([gone])
    gone.cancelled = True
    assert len(waiting) == 0
    waiting.put([stays])
    assert waiting.take(5, 100) == [stays]


def test_no_room_takes_nothing() -> None:
    waiting = Waiting[Text](1)
    waiting.put([Text(1)])
    assert waiting.take(0, 100) == []
    assert len(waiting) == 1


@pytest.mark.parametrize("close", [True, False])
def test_the_worker_wakes_when_something_comes_or_it_is_to_end(close: bool) -> None:
    waiting = Waiting[Text](1)
    woken: list[bool] = []
    worker = threading.Thread(target=lambda: woken.append(waiting.wait()))
    worker.start()
    if close:
        waiting.close()
    else:
        waiting.put([Text(1)])
    worker.join(10)
    assert woken == [not close]
