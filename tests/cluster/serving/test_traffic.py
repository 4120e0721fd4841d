"""LLMServices under steady traffic, every request counted: what people do to a platform, and what breaks."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster.installation import Installation, condition, events, service, until
from cluster.kubectl import Kubectl
from cluster.traffic import Traffic, traffic

pytestmark = pytest.mark.timeout(400, func_only=True)
OUTAGE = 60
"""Seconds without an API server."""
QUICK = {"interval": "2s", "minRequests": 10, "failureLimit": 2}
"""An analysis that makes up its mind while a test waits."""


def serve(kubectl: Kubectl, namespace: str, item: dict[str, Any]) -> dict[str, Any]:
    """Apply an LLMService and wait until it serves."""
    kubectl.apply(namespace, item)
    name = item["metadata"]["name"]
    wanted = item["spec"].get("replicas", 1)
    return until(
        kubectl,
        namespace,
        name,
        lambda found: (
            condition(found, "Ready").get("status") == "True"
            and found["status"]["readyReplicas"] >= wanted
            and found["status"]["rollout"]["phase"] == "Complete"
        ),
    )


@pytest.fixture
def asked(
    slipway: Installation, kubectl: Kubectl, models: str, python_image: str, request: pytest.FixtureRequest
) -> Iterator[Traffic]:
    """Traffic for the model `m`, which is served before; each request must have been answered at the end."""
    serve(kubectl, models, service("m", "--say=one", **getattr(request, "param", {})))
    with traffic(kubectl, models, python_image, url=slipway.url, key="apikey-tester", model="m") as asking:
        yield asking
        counts = asking.end()
        assert asking.failures() == []
        assert counts["ok"] == counts["sent"] > 20


def complete(found: dict[str, Any]) -> bool:
    status = found["status"]
    return bool(
        status["observedGeneration"] == found["metadata"]["generation"]
        and status["rollout"]["phase"] == "Complete"
        and condition(found, "Progressing")["status"] != "True"
    )


def test_scaling_by_kubectl_and_the_loss_of_a_pod_cost_no_request(
    asked: Traffic, kubectl: Kubectl, models: str
) -> None:
    kubectl("scale", f"--namespace={models}", "llm/m", "--replicas=2")
    until(kubectl, models, "m", lambda found: found["status"]["readyReplicas"] == 2)
    asked.goes_on()
    pod = kubectl.get(models, "pods", "--selector=slipway.dev/service=m")["items"][0]["metadata"]["name"]
    kubectl("delete", "pod", f"--namespace={models}", pod, "--wait=false")
    until(kubectl, models, "m", lambda found: found["status"]["readyReplicas"] == 1)
    until(kubectl, models, "m", lambda found: found["status"]["readyReplicas"] == 2)
    kubectl("scale", f"--namespace={models}", "llm/m", "--replicas=1")
    until(kubectl, models, "m", lambda found: found["status"]["replicas"] == 1)
    asked.goes_on()


@pytest.mark.parametrize("asked", [{"replicas": 2}], indirect=True)
def test_changed_arguments_are_rolled_out(asked: Traffic, kubectl: Kubectl, models: str) -> None:
    old = kubectl.get(models, "llmservice", "m")["status"]["stableRevision"]
    kubectl.apply(models, service("m", "--say=two", replicas=2))
    found = until(kubectl, models, "m", complete)
    assert found["status"]["stableRevision"] != old
    now = asked.now()["said"].get("two.", 0)
    asked.until(lambda counts: counts["said"].get("two.", 0) >= now + 20, "answers of the new revision")
    assert [entry["outcome"] for entry in found["status"]["history"]] == ["Complete", "Complete"]


CANARY: dict[str, Any] = {
    "strategy": "Canary",
    "steps": [{"weight": 30}, {"weight": 60}],
    "analysis": QUICK,
    "progressDeadline": "20s",
}


@pytest.mark.parametrize(
    ("asked", "fault", "reason", "told"),
    [
        (
            {"rollout": CANARY},
            "--fail=SourceNotFound:no such model",
            "SourceNotFound",
            "no such model",
        ),
        ({"rollout": CANARY}, "--start=600", "ProgressDeadlineExceeded", "20"),
        ({"rollout": CANARY}, "--delay=1", "Latency", "1."),
    ],
    ids=["broken", "stuck", "slow"],
    indirect=["asked"],
)
def test_a_bad_canary_is_taken_back_with_its_reason(
    asked: Traffic, fault: str, reason: str, told: str, kubectl: Kubectl, models: str
) -> None:
    stable = kubectl.get(models, "llmservice", "m")["status"]["stableRevision"]
    kubectl.apply(models, service("m", "--say=one", fault, rollout=CANARY))
    found = until(kubectl, models, "m", lambda found: found["status"]["rollout"]["phase"] == "RolledBack")
    degraded = condition(found, "Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", reason)
    assert told in degraded["message"]
    assert found["status"]["stableRevision"] == stable
    assert condition(found, "Ready")["status"] == "True"
    assert told in events(kubectl, models, "m")["RolledBack"]
    asked.goes_on()
    until(kubectl, models, "m", lambda found: found["status"]["replicas"] == 1)


def test_a_canary_that_errs_is_taken_back_and_a_good_one_promoted(
    slipway: Installation, kubectl: Kubectl, models: str, python_image: str
) -> None:
    serve(kubectl, models, service("m", "--say=one", rollout=CANARY))
    with traffic(kubectl, models, python_image, url=slipway.url, key="apikey-tester", model="m") as asking:
        kubectl.apply(models, service("m", "--say=bad", "--error-rate=0.5", rollout=CANARY))
        found = until(kubectl, models, "m", lambda found: found["status"]["rollout"]["phase"] == "RolledBack")
        assert condition(found, "Degraded")["reason"] == "ErrorRate"
        assert "%" in condition(found, "Degraded")["message"]
        kubectl.apply(models, service("m", "--say=two", rollout=CANARY))
        until(kubectl, models, "m", complete)
        now = asking.now()["said"].get("two.", 0)
        asking.until(lambda counts: counts["said"].get("two.", 0) >= now + 20, "answers of the new revision")
        counts = asking.end()
        # What the errors cost is the canary's share of them, and nothing else has failed.
        assert all(
            "502" in failure["failure"] or "500" in failure["failure"] for failure in asking.failures()
        )
        assert counts["ok"] + counts["failed"] == counts["sent"]


def test_a_model_goes_to_zero_and_its_next_request_brings_it_back(
    slipway: Installation, kubectl: Kubectl, models: str, python_image: str
) -> None:
    idle = {
        "minReplicas": 0, "maxReplicas": 2, "idleTimeout": "5s", "stableWindow": "12s", "panicWindow": "2s",
        "scaleDownDelay": "2s",
    }  # fmt: skip
    serve(kubectl, models, service("z", autoscaling=idle))
    until(kubectl, models, "z", lambda found: found["status"]["replicas"] == 0, seconds=60)
    found = kubectl.get(models, "llmservice", "z")
    assert condition(found, "Ready")["reason"] == "ScaledToZero"
    with traffic(
        kubectl, models, python_image, url=slipway.url, key="apikey-tester", model="z", rate=2
    ) as asking:
        asking.goes_on(5)
        counts = asking.end()
        assert asking.failures() == []
        assert counts["ok"] == counts["sent"]
    until(kubectl, models, "z", lambda found: found["status"]["replicas"] == 0, seconds=60)


def test_upgrade_and_rollback_of_the_release_cost_no_request(slipway: Installation, asked: Traffic) -> None:
    slipway.install(
        gateway={"podAnnotations": {"test": "upgraded"}}, operator={"podAnnotations": {"test": "u"}}
    )
    asked.goes_on()
    slipway.run("rollback", "slipway", "--wait", "--timeout=180s")
    asked.goes_on()


def test_traffic_goes_on_while_the_api_server_is_away(
    asked: Traffic, kubectl: Kubectl, models: str, api_server: Callable[[str], object]
) -> None:
    api_server("stop")
    time.sleep(OUTAGE)  # What the traffic sees meanwhile it tells afterwards: logs need the API server.
    api_server("start")
    asked.goes_on()
    kubectl("scale", f"--namespace={models}", "llm/m", "--replicas=2")
    # Kubernetes' own controllers take their time to watch again.
    until(kubectl, models, "m", lambda found: found["status"]["readyReplicas"] == 2, seconds=240)


def test_deleting_a_service_leaves_nothing(kubectl: Kubectl, models: str, slipway: Installation) -> None:
    serve(kubectl, models, service("gone"))
    kubectl("delete", "llmservice", "gone", f"--namespace={models}", "--cascade=foreground", "--timeout=90s")
    kinds = (
        "deployments,replicasets,pods,services,serviceaccounts,poddisruptionbudgets,networkpolicies,jobs,"
        "endpointslices"
    )
    # A child's end may reach the operator before its parent's: what it makes then is collected soon.
    end = time.monotonic() + 60
    left = {"gone"}
    while left and time.monotonic() < end:
        items = kubectl.get(models, kinds)["items"]
        left = {
            f"{item['kind']} {item['metadata']['name']}"
            for item in items
            if "gone" in item["metadata"]["name"]
        }
    assert left == set()
