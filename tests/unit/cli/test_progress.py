"""How far a rollout is, by its object."""

from typing import Any

import pytest

from slipway.cli.cluster.progress import history_rows, progress_of, revision_named
from slipway.cli.cluster.states import service_view
from slipway.cli.views import changes
from slipway.objects.states import service_state
from unit.cli.cluster_cases import case, changed


def test_a_rollout_that_is_complete_is_done() -> None:
    good = case("good")
    progress = progress_of(good.service, good.now)
    assert progress.state == "Done"
    assert progress.text.endswith("2 of 2 replicas are ready.")


def test_a_rollout_that_was_rolled_back_has_failed_with_its_reason() -> None:
    rolled = case("rolled")
    progress = progress_of(rolled.service, rolled.now)
    assert progress.state == "Failed"
    assert progress.text.startswith("WrongArguments: Revision ")


def test_a_change_that_was_not_looked_at_is_not_what_the_status_says() -> None:
    good = case("good")
    service = changed(good.service, metadata={"generation": 9})
    assert progress_of(service, good.now).state == "Waiting"


def test_a_pause_waits() -> None:
    canary = case("canary")
    progress = progress_of(canary.service, canary.now)
    assert progress.state == "Waiting"
    assert progress.text.startswith("Paused: ")


def test_a_first_deployment_is_waited_for_until_its_deadline() -> None:
    broken = case("broken")
    service = changed(broken.service, spec={"rollout": {"progressDeadline": "1h"}})
    assert progress_of(service, broken.now).state == "Waiting"
    late = progress_of(service, broken.now + 3600)
    assert late.state == "Failed"
    assert late.text.startswith("SourceNotFound: ")


def test_a_service_without_status_waits() -> None:
    new = {"metadata": {"name": "a", "namespace": "b", "generation": 1}, "spec": {"model": {}}}
    assert progress_of(new, 0.0).state == "Waiting"


def test_a_revision_is_named_by_number_name_or_beginning() -> None:
    service = case("canary").service
    names = [entry["revision"] for entry in service["status"]["history"]]
    assert revision_named(service, "1") == names[-1]
    assert revision_named(service, names[0]) == names[0]
    assert revision_named(service, names[0][:5]) == names[0]
    assert revision_named(service, "99") is None
    assert revision_named(service, "") is None


def test_the_history_tells_what_serves() -> None:
    rows = history_rows(case("canary").service)
    assert [row[0] for row in rows] == ["3", "2", "1"]
    assert rows[-1][2] == "stable"


@pytest.mark.parametrize(
    ("name", "state", "reason"),
    [
        ("good", "Ready", "Serving"),
        ("broken", "Failed", "SourceNotFound"),
        ("quota", "Degraded", "QuotaExceeded"),
        ("slow", "Progressing", "Starting"),
        ("canary", "Progressing", "Paused"),
        ("none", "Ready", "NoReplicas"),
    ],
)
def test_a_service_has_the_states_of_a_local_run(name: str, state: str, reason: str) -> None:
    assert service_state(case(name).service)[:2] == (state, reason)


def test_a_service_that_is_being_deleted_stops() -> None:
    service = changed(case("good").service, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    assert service_state(service)[0] == "Stopping"


def view(name: str, **replaced: Any) -> Any:
    found = case(name, **replaced)
    return service_view(found.service, found.pods, found.now)


def test_what_changed_is_told_and_nothing_else() -> None:
    good = view("good")
    assert changes([good], [good]) == []
    less = view("good", pods=case("good").pods[:1])
    (line,) = changes([good], [less])
    assert line.endswith("  gone")
    assert changes([good], [])[0] == "demo/good  gone"
