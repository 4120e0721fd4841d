"""Logs: events, last words, bounds."""

import json
from pathlib import Path

from slipway.local.logs import Tail, bound, last_words


def test_the_last_words_are_the_failed_event_or_the_last_lines() -> None:
    event = {"event": "failed", "reason": "NoModel", "message": "There is none."}
    assert last_words(f"x\n{json.dumps(event)}\ny\n".encode()) == ("NoModel", "There is none.")
    lines = "".join(f"line {n}\n" for n in range(20)).encode()
    line = json.dumps({"level": "error", "message": "m"}).encode()
    bare = json.dumps({"level": "info", "message": "m"}).encode()
    assert last_words(lines + bare + b"\n", 3) == ("", "  line 18\n  line 19\n  info: m")
    assert last_words(line + b"\n" + bare + b"\n") == ("", "  error: m")
    assert last_words(line + b"\nValueError: x\n", 1) == ("", "  ValueError: x")
    assert last_words(b"") == ("", "")
    assert last_words(b"{broken\n\xff\n") == ("", "  {broken\n  \ufffd")


def test_a_tail_gives_whole_lines_and_only_its_own_process(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of an earlier one\n")
    tail = Tail(log)
    with log.open("a") as file:
        file.write("one\ntw")
        file.flush()
        assert tail.read() == b"one\n"
        file.write("o\n")
        file.flush()
        assert tail.read() == b"two\n"
    assert tail.end() == b"one\ntwo\n"


def test_a_log_stays_bounded_while_it_is_written(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100)
        tail = Tail(log)
        bound(log, keep=80)
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    assert (tmp_path / "log.1").read_bytes() == b"x" * 10
    assert tail.read() == b"new\n"
