"""Revisions that a service has had can be run again as they were."""

from typing import Any

from slipway_operator.histories import Histories, time_text
from slipway_operator.rollouts import Outcome, RolloutState, Step
from unit.operator.written import llm_service, parsed

NOW = 1_000_000_000.0


def service(model: str, **spec: Any) -> Any:
    return parsed(llm_service(model={"source": f"hf://org/{model}"}, **spec))


def step(stable: str | None = None, outcome: Outcome | None = None, running: str | None = None) -> Step:
    replicas = {running: 1} if running else {}
    return Step(replicas, (), RolloutState(stable=stable), "", "", outcome=outcome)


def test_each_revision_is_written_down_once_with_a_number_of_its_own() -> None:
    histories = Histories(service("a"), ())
    for model in ("a", "a", "b", "b", "c"):
        histories = histories.after(service(model), None, NOW)
    assert [entry["number"] for entry in histories.entries] == [3, 2, 1]
    assert histories.entries[0]["revision"] == service("c").revision
    assert histories.entries[0]["deployedAt"] == time_text(NOW)


def test_an_outcome_is_written_to_its_own_revision() -> None:
    a, b = service("a"), service("b")
    histories = Histories(a, ()).after(a, step(outcome=Outcome(a.revision, "Complete", "Complete", "")), NOW)
    outcome = Outcome(b.revision, "RolledBack", "ErrorRate", "")
    histories = histories.after(b, step(a.revision, outcome), NOW)
    found = [(entry["outcome"], entry["reason"]) for entry in histories.entries]
    assert found == [("RolledBack", "ErrorRate"), ("Complete", "Complete")]
    assert histories.deployed == (a.revision,)


def test_an_old_revision_runs_as_it_was_with_todays_replicas() -> None:
    template = {"spec": {"containers": [{"name": "engine", "livenessProbe": None}]}}
    old = service("a", engine={"args": ["--x"], "podTemplate": template}, cache={"storageClass": "fast"})
    new = service("b", replicas=5)
    histories = Histories(new, Histories(old, ()).after(old, None, NOW).entries)
    found = histories.service_at(old.revision)
    assert found is not None
    assert found.revision == old.revision
    assert found.spec.engine == old.spec.engine  # What null takes away as well.
    assert (found.spec.cache, found.spec.replicas) == (old.spec.cache, 5)
    assert histories.service_at(new.revision) == new
    assert histories.service_at("unknown") is None


def test_old_revisions_are_forgotten_but_for_those_in_use() -> None:
    revisions = [service(model).revision for model in "abcdef"]
    histories = Histories(service("a"), ())
    for model in "abcdef":
        one = service(model, rollout={"revisionHistoryLimit": 2})
        histories = histories.after(one, step(stable=revisions[0], running=revisions[1]), NOW)
    kept = [entry["revision"] for entry in histories.entries]
    assert kept == [revisions[at] for at in (5, 4, 3, 1, 0)]
