"""The journal: whatever is written, in whatever order, is read back whole; it keeps its bound."""

import os
import resource
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.gateway.errors import APIError
from slipway.gateway.usage.journal import CLOSE_ROOM, Journal
from slipway.gateway.usage.segments import Cursor, Progress, framed, segment_path, segments_in
from slipway.gateway.usage.store import Position
from slipway.gateway.usage.tails import Tail

INSTANCE = "0123456789ab"
SEGMENT = 16_384

# What happens to a journal: a request is opened, some open one is closed, one is refused, or it is read.
Step = tuple[str, int]
steps = st.lists(
    st.tuples(st.sampled_from(["open", "again", "close", "refuse", "read", "reread"]), st.integers(0, 900)),
    max_size=120,
)


def journal_in(folder: Path, *, most: int = 1 << 30, serve_when_full: bool = False) -> Journal:
    journal = Journal(
        folder,
        INSTANCE,
        wall=lambda: 1000.0,
        segment=SEGMENT,
        most=most,
        serve_when_full=serve_when_full,
    )
    journal.start()
    return journal


def fill(journal: Journal, asked: dict[str, str], *, close: bool = False) -> tuple[list[str], APIError]:
    """Open requests, and close each, until one is refused."""
    entries: list[str] = []
    while True:
        try:
            entries.append(journal.open(0, asked))
            if close:
                journal.close(entries[-1], {})
        except APIError as refusal:
            return entries, refusal


@given(steps)
@settings(deadline=None)
def test_what_was_closed_is_read_once_in_order_with_what_was_opened(script: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = journal_in(Path(folder))
        tail = Tail(journal.folder, Position())
        opened: dict[str, str] = {}
        wanted, found = [], []
        for number, (what, size) in enumerate(script):
            text = "x" * size
            if what == "open":
                opened[journal.open(number, {"asked": text})] = text
            elif what == "again" and opened:
                entry = list(opened)[size % len(opened)]
                assert journal.open(number, {"asked": text}, entry) == entry
                opened[entry] = text
            elif what == "close" and opened:
                entry = list(opened)[size % len(opened)]
                wanted.append((opened.pop(entry), number))
                journal.close(entry, {"outcome": number})
            elif what == "refuse":
                wanted.append((text, number))
                journal.refuse(number, {"asked": text, "outcome": number})
            elif what == "read":
                found += tail.read(1 + size % 7)
                tail.recorded = tail.at
                tail.discard_read()
            elif what == "reread":  # As a recorder that was killed, and starts again from what is recorded.
                tail.close()
                tail = Tail(journal.folder, tail.recorded)
        journal.end()
        while more := tail.read(5):
            found += more
        while tail.next_segment():
            found += tail.read(1000)
        tail.close()

        assert [(each["asked"], each["outcome"]) for each in found] == wanted
        assert [each["closing"] for each in found] == list(range(1, len(wanted) + 1))
        assert set(opened) <= set(tail.opened)
        assert journal.unrecorded == 0


def test_a_full_journal_refuses_new_requests_and_closes_all_that_were_begun(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, most=2 * SEGMENT)

    entries, refusal = fill(journal, {"key": "k"})

    assert (refusal.status, refusal.code) == (503, "usage_unavailable")
    for entry in entries:
        journal.close(entry, {"status": 200, "padding": "x" * (CLOSE_ROOM - 200)})
    assert (journal.closed, journal.unrecorded) == (len(entries), 0)
    assert len(segments_in(journal.folder)) == 2
    assert len(Tail(journal.folder, Position()).read(1000)) == len(entries) > 8


def test_a_full_journal_takes_requests_again_once_it_is_recorded(tmp_path: Path) -> None:
    now, asked = 1000.0, {"key": "k" * 500}
    journal = Journal(tmp_path, INSTANCE, wall=lambda: now, segment=SEGMENT, most=2 * SEGMENT)
    fill(journal, asked, close=True)
    tail = Tail(journal.folder, Position())
    tail.read(1000)
    tail.recorded = tail.at
    tail.discard_read()

    with pytest.raises(APIError):  # It looks again ten times a second, not with each request.
        journal.open(0, asked)
    now += 1
    assert journal.open(0, asked)


def test_a_full_journal_may_serve_all_the_same_and_says_how_much_is_lost(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, most=2 * SEGMENT, serve_when_full=True)
    entries = 0
    while journal.open(0, {"key": "k"}):
        entries += 1
    assert entries
    while not journal.unrecorded:
        journal.refuse(0, {"key": "k" * 1000})
    closed = journal.closed
    journal.refuse(0, {"key": "k" * 1000})
    assert (journal.closed, journal.unrecorded) == (closed, 2)


def test_a_disk_without_room_refuses_until_there_is_room(tmp_path: Path) -> None:
    now = 1000.0
    journal = Journal(tmp_path, INSTANCE, wall=lambda: now, segment=SEGMENT)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SEGMENT // 2, hard))
    try:
        with pytest.raises(APIError) as refusal:
            journal.open(0, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert refusal.value.code == "usage_unavailable"
    assert segments_in(journal.folder) == []

    now += 1
    assert journal.open(0, {})


def test_a_folder_that_cannot_be_written_refuses(tmp_path: Path) -> None:
    (tmp_path / "usage").write_text("a file where the folder should be")
    journal = Journal(tmp_path / "usage", INSTANCE, wall=lambda: 1000.0)

    with pytest.raises(APIError) as refusal:
        journal.open(0, {})

    assert refusal.value.code == "usage_unavailable"


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20), st.data())
@settings(deadline=None)
def test_an_entry_that_is_not_whole_yet_is_not_read(entries: list[bytes], data: st.DataObject) -> None:
    whole = [head + rest for head, rest in map(framed, entries)]
    cut = data.draw(st.integers(0, len(whole[-1]) - 1))
    with tempfile.TemporaryFile() as file:
        # Its first bytes have reached the memory, the rest is still zero.
        file.write(b"".join(whole[:-1]) + whole[-1][:cut] + bytes(len(whole[-1]) - cut + 8))
        file.flush()
        torn = whole[-1][cut:].strip(b"\0") != b""  # Zeros that belong there make it whole.
        cursor = Cursor(file.fileno(), piece=data.draw(st.integers(16, 400)))

        assert [entry.data for entry in cursor.read()] == (entries[:-1] if torn else entries)

        os.pwrite(file.fileno(), b"".join(whole), 0)
        assert [entry.data for entry in cursor.read()] == (entries[-1:] if torn else [])


def test_waiting_says_what_the_recorder_has_left(tmp_path: Path) -> None:
    now = 1000.0
    journal = Journal(tmp_path, INSTANCE, wall=lambda: now, segment=SEGMENT)
    journal.start()
    assert (journal.waiting().records, journal.waiting().seconds) == (0, 0)

    for _ in range(3):
        journal.refuse(0, {})
    Progress(1, 100, 1, now).write(journal.folder)
    now += 5

    waiting = journal.waiting()
    assert (waiting.records, waiting.seconds, waiting.bytes) == (2, 5.0, SEGMENT)


def test_segments_are_files_of_their_full_size(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.refuse(0, {})

    status = segment_path(journal.folder, 1).stat()

    assert status.st_size == SEGMENT
    assert status.st_blocks * 512 >= SEGMENT
