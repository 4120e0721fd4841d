"""Streams cut at any place: the same bytes come out, the usage is found, nothing half is passed on."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.gateway.relay.sse import EventStream, Usage, UsageTail, usage_of
from slipway.gateway.relay.transport import BadAnswerError

texts = st.text(max_size=20) | st.sampled_from(
    ['"usage"', '"choices":[]', "[DONE]", 'data: {"error":{}}', "\n\n", '{"usage":{"prompt_tokens":1}}']
)


def event(payload: object, end: bytes = b"\n\n") -> bytes:
    return b"data: " + orjson.dumps(payload) + end


def content(text: str) -> dict[str, object]:
    return {"id": "1", "choices": [{"index": 0, "delta": {"content": text}}]}


USAGE = {"id": "1", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}}


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True) if a != b]


@given(
    st.lists(texts, max_size=6),
    st.lists(st.integers(0, 900), max_size=30),
    st.booleans(),
    st.sampled_from([b"\n\n", b"\r\n\r\n"]),
)
def test_any_cut_gives_the_same_stream(words: list[str], cuts: list[int], strip: bool, end: bytes) -> None:
    contents = b"".join(event(content(word), end) for word in words)
    done = b"data: [DONE]" + end
    stream = EventStream(strip_usage=strip)
    out = b"".join(stream.feed(piece) for piece in pieces(contents + event(USAGE, end) + done, cuts))
    assert out == contents + (b"" if strip else event(USAGE, end)) + done
    assert stream.usage == Usage(5, 3)
    assert stream.done
    assert not stream.failed


@given(
    st.lists(texts, min_size=1, max_size=5), st.lists(st.integers(0, 900), max_size=20), st.integers(1, 200)
)
def test_an_unfinished_stream_passes_whole_events_only(words: list[str], cuts: list[int], lost: int) -> None:
    whole = [event(content(word)) for word in words]
    data = b"".join(whole)
    data = data[: max(0, len(data) - lost)]
    stream = EventStream(strip_usage=True)
    out = b"".join(stream.feed(piece) for piece in pieces(data, cuts))
    assert out == b"".join(whole[: out.count(b"\n\n")])
    assert data.startswith(out)
    assert not stream.done


@given(st.lists(st.integers(0, 400), max_size=20))
def test_what_follows_an_error_event_is_swallowed(cuts: list[int]) -> None:
    first = event(content("a"))
    data = (
        first
        + event({"error": {"message": "secret", "code": 500}})
        + event(content("b"))
        + b"data: [DONE]\n\n"
    )
    stream = EventStream(strip_usage=True)
    out = b"".join(stream.feed(piece) for piece in pieces(data, cuts))
    assert out == first
    assert stream.failed
    assert not stream.done


def test_whole_events_pass_as_they_come() -> None:
    data = event(content("a")) + event(content("b"))
    assert EventStream(strip_usage=True).feed(data) is data


def test_running_usage_keeps_its_events() -> None:
    running = content("a") | {"usage": {"prompt_tokens": 5, "completion_tokens": 1}}
    stream = EventStream(strip_usage=True)
    assert stream.feed(event(running)) == event(running)
    assert stream.usage == Usage(5, 1)


def test_an_event_without_an_end_is_bounded() -> None:
    stream = EventStream(strip_usage=True)
    for _ in range(41):
        assert stream.feed(b"x" * 100_000) == b""
    with pytest.raises(BadAnswerError):
        stream.feed(b"x" * 100_000)


@given(texts, st.lists(st.integers(0, 500), max_size=10), st.booleans())
def test_the_usage_of_a_json_answer_is_found_at_any_cut(word: str, cuts: list[int], details: bool) -> None:
    usage: dict[str, object] = {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}
    if details:
        usage["prompt_tokens_details"] = {"cached_tokens": 1}
    answer = orjson.dumps({"choices": [{"message": {"content": word * 500}}], "usage": usage, "tail": None})
    tail = UsageTail()
    for piece in pieces(answer, cuts):
        tail.feed(piece)
    assert tail.find() == Usage(4, 2, cached=1 if details else 0)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'"usage"', b'{"usage":null}', b'{"usage":{"prompt_tokens":"x"}}', b'"usage":{']
)
def test_no_usage_is_no_usage(data: bytes) -> None:
    tail = UsageTail()
    tail.feed(data)
    assert tail.find() is None


@pytest.mark.parametrize(
    "value", [None, 3, {}, {"prompt_tokens": -1}, {"prompt_tokens": 1, "completion_tokens": "2"}]
)
def test_a_usage_that_is_none(value: object) -> None:
    assert usage_of(value) is None
