"""The recorder over a real SQLite: whatever ends it, wherever, each request has exactly one record."""

import json
import os
import tempfile
from collections import Counter
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, func, select
from sqlalchemy.exc import OperationalError

from slipway.gateway.logs import JSONLog
from slipway.gateway.storage.database import migrate, open_engine
from slipway.gateway.usage import store
from slipway.gateway.usage.adoption import adopt
from slipway.gateway.usage.entries import Asked, Outcome
from slipway.gateway.usage.journal import Journal
from slipway.gateway.usage.recorder import Recorder
from slipway.gateway.usage.rows import KILLED, record_id
from slipway.gateway.usage.segments import RECORDER_LOCK, framed, lock, segment_path, segments_in
from slipway.gateway.usage.tables import DAY_US, SUMS, usage_days, usage_journals, usage_records

INSTANCE = "0123456789ab"
NOW = 1_800_000_000.0
OPENED = Asked(
    ("local", "search", "m", "/v1", "chat", "normal", "m", "s", "r1"),
    "req-1",
    stream=False,
    prompt=10,
    completion=100,
    cost=5000,
)
CLOSED = Outcome(("", ""), 200, 1, 7, 2, 1, 900, times=(1.0, 1.1, 0, 0, 0, 0, None, 2.0))
REFUSED = Outcome(("", ""), 429, error="rate_limit_exceeded")


def database(folder: Path) -> Engine:
    engine = open_engine(f"sqlite:///{folder}/gateway.db", 5.0)
    migrate(engine)
    return engine


def rows(engine: Engine) -> list[dict[str, Any]]:
    with engine.begin() as connection:
        query = select(usage_records).order_by(usage_records.c.closing.nulls_last(), usage_records.c.id)
        return [dict(row) for row in connection.execute(query).mappings()]


def sums(engine: Engine) -> tuple[int, ...]:
    with engine.begin() as connection:
        columns = [func.coalesce(func.sum(usage_days.c[name]), 0) for name in SUMS]
        return tuple(connection.execute(select(*columns)).one())


def recorder(journal: Journal, engine: Engine, output: StringIO | None = None) -> Recorder:
    return Recorder(journal.folder, engine, lambda: NOW, JSONLog(output or StringIO()))


class AwayError(Exception):
    """The database goes away at some statement."""


class Faults:
    """Fails the statements and commits of an engine when told to."""

    def __init__(self, engine: Engine) -> None:
        self.left: int | None = None
        event.listen(engine, "before_cursor_execute", self._statement)
        event.listen(engine, "commit", self._commit)

    def _statement(self, *_: Any) -> None:
        self._one()

    def _commit(self, _: Any) -> None:
        self._one()

    def _one(self) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            self.left = None
            raise AwayError


# What happens, in any order: requests open and close, the recorder works, loses its database at the n-th
# statement, is killed and started again, or is overtaken by another one.
actions = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.just(0)),
        st.tuples(st.just("close"), st.integers(0, 50)),
        st.tuples(st.just("refuse"), st.just(0)),
        st.tuples(st.just("record"), st.just(0)),
        st.tuples(st.just("fault"), st.integers(0, 6)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("overtake"), st.just(0)),
    ),
    max_size=60,
)


@given(actions, st.integers(0, 12))
@settings(deadline=None, max_examples=150)
def test_each_request_has_exactly_one_record(script: list[tuple[str, int]], last_fault: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = database(folder)
        faults = Faults(engine)
        journal = Journal(folder / "usage", INSTANCE, wall=lambda: NOW, segment=8192)
        journal.start()
        one = recorder(journal, engine)
        under_way: list[int] = []
        closed = killed = 0
        for number, (what, value) in enumerate(script):
            if what == "open":
                under_way.append(journal.open(number, OPENED._replace(batch="x" * 400)))
            elif what == "close" and under_way:
                journal.close(under_way.pop(value % len(under_way)), CLOSED)
                closed += 1
            elif what == "refuse":
                journal.refuse(number, OPENED, REFUSED)
                closed += 1
            elif what == "record":
                one.step()
            elif what == "fault":
                faults.left = value
                with suppress(AwayError):
                    one.step()
                faults.left = None
            elif what == "restart":
                one = recorder(journal, engine)
            elif what == "overtake":
                recorder(journal, engine).step()
        killed = len(under_way)

        journal.end()
        faults.left = last_fault
        for _ in range(2):
            with suppress(AwayError):
                one.finish()
        faults.left = None
        recorder(journal, engine).finish()

        found = rows(engine)
        assert [each["closing"] for each in found] == [*range(1, closed + 1), *[None] * killed]
        assert Counter(each["error"] == KILLED for each in found) == +Counter({False: closed, True: killed})
        refused = sum(each["status"] == 429 for each in found)
        answered = closed - refused
        assert sums(engine) == (
            closed + killed,
            refused + killed,
            7 * answered + 10 * killed,
            2 * answered + 100 * killed,
            answered,
            900 * answered + 5000 * killed,
        )
        assert not journal.folder.exists()
        engine.dispose()


def test_a_request_left_open_is_recorded_with_what_was_reserved(tmp_path: Path) -> None:
    engine = database(tmp_path)
    journal = Journal(tmp_path / "usage", INSTANCE, wall=lambda: NOW)
    journal.start()
    entry = journal.open(int(NOW * 1e6), OPENED)
    journal.end()

    recorder(journal, engine).finish()

    (record,) = rows(engine)
    assert record["id"] == record_id(INSTANCE, entry, int(NOW * 1e6))
    assert (record["status"], record["error"], record["estimated"]) == (500, KILLED, True)
    assert (record["prompt_tokens"], record["completion_tokens"], record["cost_nano"]) == (10, 100, 5000)
    assert record["closing"] is None
    engine.dispose()


def test_a_journal_that_an_older_gateway_left_is_recorded(tmp_path: Path) -> None:
    """Its entries are objects: closed, refused, and left open with what was reserved."""
    engine, start = database(tmp_path), int(NOW * 1e6)
    folder = tmp_path / "usage" / INSTANCE
    folder.mkdir(parents=True)
    said = {
        "request_id": "req-1",
        "key": "local",
        "owner": "search",
        "model": "m",
        "route": "/v1",
        "operation": "chat",
        "stream": True,
        "priority": "high",
        "batch": "batch_1",
    }
    served = {"served_model": "n", "service": "s", "revision": "r1", "reserved": [10, 100, 5000]}
    ended = {
        "status": 200,
        "attempts": 2,
        "times": [1.0, 1.1, 1.2, 0, 1.4, 1.5, None, 2.0],
        "endpoint": "10.0.0.1:8000",
        "tokens": [7, 2, 1, 900],
        "revision": "r2",
    }
    refused = {"status": 429, "attempts": 0, "times": [1.0, 1.1, 0, 0, 0, 0, None, 2.0], "error": "no"}
    one, two, three = (record_id(INSTANCE, number, start + number) for number in (1, 2, 3))
    with segment_path(folder, 1).open("wb") as file:
        for entry in (
            {"id": one, **said, **served},
            {"id": two, **said, **served},
            {"id": one, "closing": 1, **ended},
            {"id": three, "closing": 2, **said, **refused},
        ):
            file.write(framed(json.dumps(entry).encode()))
        file.write(bytes(100))

    Recorder(folder, engine, lambda: NOW, JSONLog(StringIO())).finish()

    first, third, second = rows(engine)
    assert [first["id"], second["id"], third["id"]] == [one, two, three]
    assert [each["started_us"] - start for each in (first, second, third)] == [1, 2, 3]
    for row in (first, second, third):
        assert {name: row[name] for name in said} == said
    assert (first["status"], first["attempts"], first["revision"]) == (200, 2, "r2")
    assert (first["endpoint"], first["served_model"], first["service"]) == ("10.0.0.1:8000", "n", "s")
    assert (first["prompt_tokens"], first["completion_tokens"], first["cost_nano"]) == (7, 2, 900)
    assert (first["authenticated_us"], first["relayed_us"], first["total_us"]) == (100_000, None, 1_000_000)
    assert (second["error"], second["completion_tokens"], second["revision"]) == (KILLED, 100, "r1")
    assert (third["status"], third["error"], third["served_model"]) == (429, "no", "")
    engine.dispose()


def test_a_row_that_the_database_never_takes_does_not_hold_up_the_others(tmp_path: Path) -> None:
    engine, output = database(tmp_path), StringIO()
    journal = Journal(tmp_path / "usage", INSTANCE, wall=lambda: NOW)
    journal.start()
    for number in range(3):
        # What no gateway writes: SQLite refuses a row without a status.
        outcome = CLOSED._replace(status=None) if number == 1 else CLOSED  # type: ignore[arg-type]
        journal.refuse(number, OPENED, outcome)

    recorder(journal, engine, output).step()

    assert [each["closing"] for each in rows(engine)] == [1, 3]
    assert sums(engine)[0] == 2
    assert "usage_refused" in output.getvalue()
    engine.dispose()


def test_a_damaged_segment_loses_what_is_behind_the_damage_and_nothing_else(tmp_path: Path) -> None:
    engine, output = database(tmp_path), StringIO()
    journal = Journal(tmp_path / "usage", INSTANCE, wall=lambda: NOW, segment=8192)
    journal.start()
    while len(segments_in(journal.folder)) < 2:
        journal.refuse(0, OPENED, CLOSED)
    first_behind = journal.closed
    journal.refuse(0, OPENED, CLOSED)
    journal.end()
    with segment_path(journal.folder, 1).open("r+b") as file:
        file.seek(20)
        file.write(b"?")

    recorder(journal, engine, output).finish()

    assert [each["closing"] for each in rows(engine)] == [first_behind, first_behind + 1]
    assert "cannot be read" in output.getvalue()
    engine.dispose()


def test_journals_are_adopted_when_their_gateway_is_gone_and_not_before(tmp_path: Path) -> None:
    engine, root = database(tmp_path), tmp_path / "usage"
    journal = Journal(root, INSTANCE, wall=lambda: NOW)
    journal.start()
    journal.refuse(0, OPENED, CLOSED)

    assert adopt(root, engine, lambda: NOW, JSONLog(StringIO())) == 0
    assert rows(engine) == []
    journal.end()
    held = lock(journal.folder / RECORDER_LOCK)
    assert held is not None
    assert adopt(root, engine, lambda: NOW, JSONLog(StringIO())) == 0
    os.close(held)
    assert adopt(root, engine, lambda: NOW, JSONLog(StringIO())) == 1
    assert len(rows(engine)) == 1
    assert not list(root.iterdir())
    engine.dispose()


def test_records_are_kept_for_whole_days_and_their_sums_longer(tmp_path: Path) -> None:
    engine = database(tmp_path)
    journal = Journal(tmp_path / "usage", INSTANCE, wall=lambda: NOW)
    journal.start()
    today = int(NOW * 1e6) // DAY_US
    for day in range(5):
        journal.refuse((today - day) * DAY_US, OPENED, CLOSED)
        journal.refuse((today - day + 1) * DAY_US - 1, OPENED, CLOSED)
    recorder(journal, engine).step()

    def forget() -> None:
        with engine.begin() as connection:
            while store.forget_records(connection, int(NOW * 1e6), days=2):
                pass
            store.forget_days(connection, int(NOW * 1e6), days=3)

    forget()

    kept = Counter(each["started_us"] // DAY_US for each in rows(engine))
    assert kept == {today: 2, today - 1: 2, today - 2: 2}
    with engine.begin() as connection:
        days = connection.execute(select(usage_days.c.day, usage_days.c.requests)).all()
        assert sorted(days) == [(today - 3, 2), (today - 2, 2), (today - 1, 2), (today, 2)]
        assert connection.scalar(select(func.count()).select_from(usage_journals)) == 1
    engine.dispose()


def test_a_database_that_is_away_is_an_error_of_sqlalchemy(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/gateway.db", 5.0)  # Without its tables.
    journal = Journal(tmp_path / "usage", INSTANCE, wall=lambda: NOW)
    journal.start()

    with pytest.raises(OperationalError):
        recorder(journal, engine).step()
    engine.dispose()
