"""What a FineTune's status means for its job."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from slipway.gateway.finetuning.progress import SETTLE_US, seen
from slipway.objects import FineTuneStatus

NOW = 1_800_000_000_000_000


def row(**values: Any) -> Any:
    there = {"status": "running", "wanted": "run", "started_us": NOW - 10, "estimated_us": None}
    return SimpleNamespace(**{**there, **values})


def at(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1_000_000, UTC)


def status(phase: str | None, **values: Any) -> FineTuneStatus:
    return FineTuneStatus.model_validate({"phase": phase, **values})


@pytest.mark.parametrize(
    ("phase", "before", "after"),
    [
        (None, "queued", "queued"),
        ("Pending", "running", "queued"),
        ("Preparing", "queued", "running"),
        ("Deploying", "running", "running"),
        ("Suspended", "queued", "queued"),
    ],
)
def test_phases_are_states(phase: str | None, before: str, after: str) -> None:
    values = seen(row(status=before), status(phase), NOW, known=False)
    assert values.get("status", before) == after


def test_a_job_that_is_to_pause_is_paused_whatever_runs_on() -> None:
    there = row(status="paused", wanted="pause")
    assert seen(there, status("Training", progress={"etaSeconds": 5}), NOW, known=False) == {}


def test_the_time_left_is_news_when_it_differs() -> None:
    running = status("Training", progress={"etaSeconds": 60})
    first = seen(row(), running, NOW, known=False)
    assert first == {"estimated_us": NOW + 60_000_000}
    assert seen(row(**first), running, NOW + 1_000_000, known=False) == {}
    assert seen(row(**first), running, NOW + 9_000_000, known=False) == {"estimated_us": NOW + 69_000_000}


def test_success_waits_a_while_for_the_model_to_be_known() -> None:
    done = status("Succeeded", completedAt=at(NOW), metrics={"tokens": "42"})
    assert seen(row(), done, NOW, known=False) == {}
    for moment, known in ((NOW, True), (NOW + SETTLE_US, False)):
        values = seen(row(), done, moment, known=known)
        assert (values["status"], values["trained_tokens"], values["finished_us"]) == ("succeeded", 42, NOW)
        assert values["settled"]


def test_a_failure_tells_its_stage_and_nothing_of_the_inside() -> None:
    told = {"name": "prepare", "state": "Failed", "reason": "BadData", "message": "line 3 is empty"}
    values = seen(row(), status("Failed", stages=[told]), NOW, known=False)
    assert json.loads(values["error"]) == {
        "code": "bad_data",
        "message": "line 3 is empty",
        "param": "training_file",
    }
    inside = {**told, "name": "train", "message": "/root/models/x/weights is gone"}
    values = seen(row(), status("Failed", stages=[inside]), NOW, known=False)
    assert "/root" not in values["error"]
    assert json.loads(values["error"])["param"] is None


def test_one_that_is_gone_has_failed() -> None:
    assert json.loads(seen(row(), None, NOW, known=False)["error"])["code"] == "fine_tune_gone"


@pytest.mark.parametrize("phase", ["Cancelled", "Succeeded", "Failed"])
def test_a_cancelled_job_is_done_with_when_its_fine_tune_is(phase: str) -> None:
    there = row(status="cancelled", wanted="cancel")
    assert seen(there, status("Training"), NOW, known=False) == {}
    assert seen(there, status(phase), NOW, known=True) == {"settled": True}
    assert seen(there, None, NOW, known=False) == {"settled": True}
