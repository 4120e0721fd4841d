"""What `slipway explain SERVICE` finds in objects that a real cluster had."""

from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.cli.cluster.describing import described
from slipway.cli.cluster.findings import findings
from slipway.cli.findings import local_findings, shown
from unit.cli.cluster_cases import case, changed


@pytest.mark.parametrize(
    ("name", "reason", "cause", "step"),
    [
        ("broken", "SourceNotFound", "Check model.source", "kubectl edit llm/broken -n demo"),
        ("noimage", "ImageCannotBePulled", "localhost/none:1", "kubectl edit llm/noimage -n demo"),
        ("huge", "Unschedulable", "1 Insufficient memory", "kubectl describe nodes"),
        ("gpu", "CacheNotBound", "its class is nope", "kubectl describe pvc gpu-models -n demo"),
        ("slow", "Starting", "It loads the model", "slipway logs slow -n demo -f"),
        ("canary", "RolloutPaused", "paused before its start", "slipway rollout resume canary -n demo"),
        ("quota", "QuotaExceeded", "limited: pods=1", "kubectl describe resourcequota -n tight"),
        ("nodepath", "PodSecurityViolated", "hostPath", "kubectl get namespace strict --show-labels"),
        ("oom", "OutOfMemory", "engine.resources.limits.memory", "kubectl edit llm/oom -n demo"),
        ("crash", "EngineCrashed", "exit code 3", "slipway logs crash -n demo --previous"),
        ("none", "NoReplicas", "replicas is 0", "kubectl scale llm/none -n demo --replicas=1"),
        ("rolled", "WrongArguments", "was taken back to", "kubectl edit llm/rolled -n demo"),
    ],
)
def test_one_cause_is_found_with_its_next_command(name: str, reason: str, cause: str, step: str) -> None:
    (found,) = findings(case(name))
    assert found.reason == reason
    assert cause in found.cause
    assert found.next == step


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert findings(case("good")) == []
    assert shown("good", []) == ["good", "Nothing is wrong."]


def test_the_last_lines_of_a_container_that_crashed_are_evidence() -> None:
    (found,) = findings(case("crash"))
    assert "libcuda.so.1: cannot open shared object file" in found.evidence
    assert any("2 restarts" in line for line in found.evidence)


def test_an_event_that_is_told_again_and_again_is_shown_once() -> None:
    (found,) = findings(case("huge"))
    assert sum("FailedScheduling" in line for line in found.evidence) == 1


def test_pods_with_one_cause_are_one_finding() -> None:
    crash = case("crash")
    twins = [changed(crash.pods[0], metadata={"name": f"crash-{at}"}) for at in range(5)]
    (found,) = findings(case("crash", pods=twins, logs={}))
    assert "and 2 more pods" in found.evidence


def test_no_operator_comes_first() -> None:
    first, second = findings(case("broken", leases=[]))
    assert first.reason == "OperatorMissing"
    assert second.reason == "SourceNotFound"


def test_a_lease_that_nobody_renews_is_no_operator() -> None:
    good = case("good")
    (found,) = findings(case("good", now=good.now + 3600))
    assert found.reason == "OperatorMissing"
    assert "last renewed" in found.evidence[0]


def test_leases_that_may_not_be_read_prove_nothing() -> None:
    assert findings(case("good", leases=None)) == []


def test_a_change_that_the_operator_does_not_look_at() -> None:
    good = case("good")
    service = changed(good.service, metadata={"generation": 7})
    (found,) = findings(case("good", service=service))
    assert found.reason == "NotSeen"
    assert "generation 7" in found.cause


def test_the_operator_was_told_to_leave_it_alone() -> None:
    good = case("good")
    service = changed(good.service, metadata={"annotations": {"slipway.dev/paused": "true"}})
    (found,) = findings(case("good", service=service, leases=[]))
    assert found.reason == "OperatorPaused"
    assert found.next == "kubectl annotate llm/good -n demo slipway.dev/paused-"


def test_ready_pods_that_gateways_do_not_find() -> None:
    (found,) = findings(case("good", slices=[]))
    assert found.reason == "NoEndpoints"
    assert len(found.evidence) == 2


def test_a_pod_that_does_not_go() -> None:
    good = case("good")
    since = datetime.fromtimestamp(good.now - 600, UTC).isoformat()
    stuck = changed(good.pods[0], metadata={"deletionTimestamp": since})
    (found,) = findings(case("good", pods=[stuck, good.pods[1]]))
    assert found.reason == "StuckTerminating"
    assert "600 s" in found.cause


def test_a_hold_for_want_of_metrics() -> None:
    good = case("good")
    said = {
        "type": "ScalingActive",
        "status": "False",
        "reason": "MetricsMissing",
        "message": "No gateway answers.",
    }
    service = changed(good.service, status={"conditions": [*good.status["conditions"], said]})
    (found,) = findings(case("good", service=service))
    assert found.reason == "MetricsMissing"


def test_what_the_operator_alone_knows_is_passed_on() -> None:
    good = case("good")
    said = {"type": "Degraded", "status": "True", "reason": "Strange", "message": "Something is odd."}
    service = changed(good.service, status={"conditions": [said]})
    (found,) = findings(case("good", service=service))
    assert (found.reason, found.cause) == ("Strange", "Something is odd.")


@pytest.mark.parametrize("name", ["good", "canary", "gpu", "none", "rolled"])
def test_each_service_can_be_described(name: str) -> None:
    text = "\n".join(described(case(name)))
    assert f"Name:         {name}" in text
    assert "Conditions:" in text


# --- local -------------------------------------------------------------------------------------------


def local_service(state: str, reason: str, message: str) -> dict[str, Any]:
    row = {"name": "a/0", "state": state, "reason": reason, "message": message, "restarts": 3}
    return {"name": "a", "state": "Degraded", "reason": "", "message": "", "replicas": 1, "processes": [row]}


@pytest.mark.parametrize(
    ("state", "reason", "step"),
    [
        ("Failed", "SourceNotFound", "change the file, then `slipway up`"),
        ("Waiting", "BackOff", "slipway logs a"),
        ("Unready", "ProbeFailed", "slipway logs a -f"),
        ("Starting", "Starting", "slipway rollout status a"),
    ],
)
def test_a_local_replica_says_what_is_wrong(state: str, reason: str, step: str) -> None:
    (found,) = local_findings(local_service(state, reason, "because"), {"a/0": "one\n\ntwo\n"})
    assert (found.reason, found.next) == (reason, step)
    if state != "Starting":
        assert found.evidence == (f"a/0: {state}, 3 restarts", "one", "two")
