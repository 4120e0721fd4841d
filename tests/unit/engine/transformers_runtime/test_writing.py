"""Tokens to text, as they come."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.engine.transformers_runtime.rows import Piece, Row, Sampling
from slipway.engine.transformers_runtime.writing import Writing

END = 0


def of_bytes(ids: list[int]) -> str:
    """A tokenizer whose tokens are the bytes of UTF-8, shifted by one."""
    return bytes(each - 1 for each in ids).decode(errors="replace")


def of_words(ids: list[int]) -> str:
    """One like SentencePiece's: each token brings its space, and the first space of all is left out."""
    return "".join(f" w{each}" if each % 3 else "'s" for each in ids).removeprefix(" ")


def written(decode: Callable[[list[int]], str], ids: list[int], *stops: str) -> tuple[list[str], Writing]:
    writing = Writing(decode, hidden={END}, stops=stops)
    parts = []
    for each in ids:
        parts.append(writing.add(each))
        if writing.stopped_by is not None:
            break
    parts.append(writing.finish())
    return parts, writing


@given(st.text())
def test_characters_of_several_bytes_come_whole(text: str) -> None:
    ids = [byte + 1 for byte in text.encode(errors="ignore")]
    text = text.encode(errors="ignore").decode()
    parts, _ = written(of_bytes, ids)
    assert "".join(parts) == text
    if "\N{REPLACEMENT CHARACTER}" not in text:
        assert not any("\N{REPLACEMENT CHARACTER}" in part for part in parts)


@given(st.lists(st.integers(0, 255)))
def test_bytes_that_are_no_text_come_as_the_tokenizer_has_them(data: list[int]) -> None:
    parts, _ = written(of_bytes, [each + 1 for each in data])
    assert "".join(parts) == of_bytes([each + 1 for each in data])


@given(st.lists(st.integers(0, 20)))
def test_spaces_between_tokens_are_those_of_the_whole(ids: list[int]) -> None:
    parts, _ = written(of_words, ids)
    assert "".join(parts) == of_words([each for each in ids if each != END])


@given(st.text("ab", max_size=40), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_the_first_stop_text_ends_it_wherever_tokens_are_cut(text: str, stops: list[str]) -> None:
    parts, writing = written(of_bytes, [byte + 1 for byte in text.encode()], *stops)
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    if not ends:
        assert ("".join(parts), writing.stopped_by) == (text, None)
        return
    assert writing.stopped_by in stops
    answer = "".join(parts)
    assert text.startswith(answer + writing.stopped_by)
    assert len(answer + writing.stopped_by) == min(ends)


def test_what_may_be_the_beginning_of_a_stop_text_is_held_back() -> None:
    writing = Writing(of_bytes, hidden=set(), stops=["abc"])
    assert [writing.add(byte + 1) for byte in b"xaba"] == ["x", "", "", "ab"]
    assert writing.finish() == "a"


def row(
    room: int = 9, *, stops: tuple[str, ...] = (), streams: bool = True, ignores_end: bool = False
) -> Row:
    return Row(
        prompt=(5, 6),
        sampling=Sampling(),
        room=room,
        writing=Writing(of_bytes, hidden={END}, stops=stops),
        deliver=lambda piece: None,
        arrived=0.0,
        streams=streams,
        ignores_end=ignores_end,
    )


def advance(row: Row, *tokens: int) -> list[Piece | None]:
    return [row.advance(token, {END}) for token in tokens]


def test_the_end_token_counts_and_is_not_shown() -> None:
    last = advance(row(), 98, 99, END)[-1]
    assert last == Piece("", 3, "stop")


def test_the_room_ends_an_answer_with_what_was_held_back() -> None:
    assert advance(row(2, stops=("bc",)), 98, 99) == [Piece("a", 1), Piece("b", 2, "length")]


def test_a_stop_text_with_the_last_token_is_a_stop() -> None:
    assert advance(row(2, stops=("b",)), 98, 99)[-1] == Piece("", 2, "stop", "b")


def test_the_end_token_can_be_ignored() -> None:
    assert advance(row(3, ignores_end=True), 98, END, 99)[-1] == Piece("b", 3, "length")


def test_one_that_does_not_stream_gets_all_at_the_end() -> None:
    assert advance(row(streams=False), 98, 99, END) == [None, None, Piece("ab", 3, "stop")]


@pytest.mark.parametrize("temperature", [0, 1e-9])
def test_no_temperature_is_no_chance(temperature: float) -> None:
    assert Sampling(temperature=temperature).greedy
