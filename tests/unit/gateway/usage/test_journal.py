"""The journal: whatever is written, in whatever order, is read back whole; it keeps its bound."""

import os
import resource
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.gateway.errors import APIError
from slipway.gateway.usage.entries import Asked, Outcome
from slipway.gateway.usage.journal import CLOSE_ROOM, Journal
from slipway.gateway.usage.segments import Cursor, Progress, framed, segment_path, segments_in
from slipway.gateway.usage.store import Position
from slipway.gateway.usage.tails import Closed, Tail

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


def asked(text: str = "", key: str = "k") -> Asked:
    return Asked((key, "o", "m", "/v1", "chat", "normal", "m", "s", "r1"), text, stream=False)


def outcome(status: int = 200, error: str = "", revision: str = "") -> Outcome:
    return Outcome(("10.0.0.1:8000", revision), status, error=error)


def fill(journal: Journal, what: Asked, *, close: bool = False) -> tuple[list[int], APIError]:
    """Open requests, and close each, until one is refused."""
    entries: list[int] = []
    while True:
        try:
            entries.append(journal.open(0, what))
            if close:
                journal.close(entries[-1], outcome())
        except APIError as refusal:
            return entries, refusal


@given(steps)
@settings(deadline=None)
def test_what_was_closed_is_read_once_in_order_with_what_was_opened(script: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        journal = journal_in(Path(folder))
        tail = Tail(journal.folder, Position())
        opened: dict[int, tuple[int, Asked]] = {}
        wanted: list[tuple[int | None, tuple[int, Asked], Outcome]] = []
        found: list[Closed] = []
        for number, (what, size) in enumerate(script):
            # Texts that were told before and new ones, long and short ones.
            request = asked("x" * size, key=f"key-{size % 4}")
            end = outcome(number, revision=f"r{size % 3}")
            if what == "open":
                opened[journal.open(number, request)] = (number, request)
            elif what == "again" and opened:
                entry = list(opened)[size % len(opened)]
                assert journal.open(number, request, entry) == entry
                opened[entry] = (number, request)
            elif what == "close" and opened:
                entry = list(opened)[size % len(opened)]
                wanted.append((entry, opened.pop(entry), end))
                journal.close(entry, end)
            elif what == "refuse":
                journal.refuse(number, request, end)
                wanted.append((None, (number, request), end))
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

        assert [(begun, end._replace(times=())) for _, begun, _, end in found] == [
            each[1:] for each in wanted
        ]
        assert all(wanted[place][0] in (None, number) for place, (number, *_) in enumerate(found))
        assert [closing for _, _, closing, _ in found] == list(range(1, len(wanted) + 1))
        assert opened.items() <= {number: begun for number, (_, begun) in tail.opened.items()}.items()
        assert journal.unrecorded == 0


def test_a_full_journal_refuses_new_requests_and_closes_all_that_were_begun(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, most=2 * SEGMENT)

    entries, refusal = fill(journal, asked())

    assert (refusal.status, refusal.code) == (503, "usage_unavailable")
    for entry in entries:
        journal.close(entry, outcome(error="x" * (CLOSE_ROOM - 200)))
    assert (journal.closed, journal.unrecorded) == (len(entries), 0)
    assert len(segments_in(journal.folder)) == 2
    assert len(Tail(journal.folder, Position()).read(1000)) == len(entries) > 8


def test_a_full_journal_takes_requests_again_once_it_is_recorded(tmp_path: Path) -> None:
    now, long = 1000.0, asked("x" * 500)
    journal = Journal(tmp_path, INSTANCE, wall=lambda: now, segment=SEGMENT, most=2 * SEGMENT)
    fill(journal, long, close=True)
    tail = Tail(journal.folder, Position())
    tail.read(1000)
    tail.recorded = tail.at
    tail.discard_read()

    with pytest.raises(APIError):  # It looks again ten times a second, not with each request.
        journal.open(0, long)
    now += 1
    assert journal.open(0, long)


def test_a_full_journal_may_serve_all_the_same_and_says_how_much_is_lost(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, most=2 * SEGMENT, serve_when_full=True)
    entries = 0
    while journal.open(0, asked()):
        entries += 1
    assert entries
    while not journal.unrecorded:
        journal.refuse(0, asked("x" * 1000), outcome())
    closed = journal.closed
    journal.refuse(0, asked("x" * 1000), outcome())
    assert (journal.closed, journal.unrecorded) == (closed, 2)


def test_a_disk_without_room_refuses_until_there_is_room(tmp_path: Path) -> None:
    now = 1000.0
    journal = Journal(tmp_path, INSTANCE, wall=lambda: now, segment=SEGMENT)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SEGMENT // 2, hard))
    try:
        with pytest.raises(APIError) as refusal:
            journal.open(0, asked())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert refusal.value.code == "usage_unavailable"
    assert segments_in(journal.folder) == []

    now += 1
    assert journal.open(0, asked())


def test_a_folder_that_cannot_be_written_refuses(tmp_path: Path) -> None:
    (tmp_path / "usage").write_text("a file where the folder should be")
    journal = Journal(tmp_path / "usage", INSTANCE, wall=lambda: 1000.0)

    with pytest.raises(APIError) as refusal:
        journal.open(0, asked())

    assert refusal.value.code == "usage_unavailable"


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20), st.data())
@settings(deadline=None)
def test_an_entry_that_is_not_whole_yet_is_not_read(entries: list[bytes], data: st.DataObject) -> None:
    whole = [framed(entry) for entry in entries]
    cut = data.draw(st.integers(0, len(whole[-1]) - 1))
    with tempfile.TemporaryFile() as file:
        # Its first bytes have reached the memory, the rest is still zero.
        file.write(b"".join(whole[:-1]) + whole[-1][:cut] + bytes(len(whole[-1]) - cut + 8))
        file.flush()
        torn = whole[-1][cut:].strip(b"\0") != b""  # Zeros that belong there make it whole.
        cursor = Cursor(file.fileno(), piece=data.draw(st.integers(16, 400)))

        assert list(cursor.read()) == (entries[:-1] if torn else entries)

        os.pwrite(file.fileno(), b"".join(whole), 0)
        assert list(cursor.read()) == (entries[-1:] if torn else [])


def test_waiting_says_what_the_recorder_has_left(tmp_path: Path) -> None:
    now = 1000.0
    journal = Journal(tmp_path, INSTANCE, wall=lambda: now, segment=SEGMENT)
    journal.start()
    assert (journal.waiting().records, journal.waiting().seconds) == (0, 0)

    for _ in range(3):
        journal.refuse(0, asked(), outcome())
    Progress(1, 100, 1, now).write(journal.folder)
    now += 5

    waiting = journal.waiting()
    assert (waiting.records, waiting.seconds, waiting.bytes) == (2, 5.0, SEGMENT)


def test_segments_are_files_of_their_full_size(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.refuse(0, asked(), outcome())

    status = segment_path(journal.folder, 1).stat()

    assert status.st_size == SEGMENT
    assert status.st_blocks * 512 >= SEGMENT
