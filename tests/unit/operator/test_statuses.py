"""What people read of a service: conditions that hold, times that stay, events that are told once."""

from itertools import pairwise
from typing import Any

import pytest

from slipway.kube.errors import status_error
from slipway.kube.kinds import DEPLOYMENT, POD
from slipway_operator import names
from slipway_operator.autoscaling import Load
from slipway_operator.plans import Measured
from slipway_operator.refusals import is_refusal, refusal, with_refusal
from slipway_operator.statuses import condition
from unit.operator.written import Namespace, llm_service, pod

QUICK = {"analysis": {"interval": "1s"}}
WAITING = {
    "containerStatuses": [
        {
            "name": "engine",
            "image": "none:1",
            "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}},
        }
    ]
}


def running(**spec: Any) -> Namespace:
    """A service that serves."""
    namespace = Namespace(llm_service(rollout=QUICK, **spec))
    namespace.run()
    return namespace


def replace_pods(namespace: Namespace, *pods: dict[str, Any]) -> None:
    for key in [key for key in namespace.children if key[0] == POD]:
        del namespace.children[key]
    for each in pods:
        namespace.children[POD, each["metadata"]["name"]] = each


def revision(namespace: Namespace) -> str:
    return str(namespace.status["stableRevision"])


def time_of(namespace: Namespace, kind: str) -> str:
    return next(
        str(each["lastTransitionTime"]) for each in namespace.status["conditions"] if each["type"] == kind
    )


def reasons(namespace: Namespace) -> list[str]:
    """Of the events of a turn."""
    namespace.now += 1
    return [event.reason for event in namespace.turn().events]


def test_a_service_that_serves_says_so_with_numbers() -> None:
    namespace = running(replicas=2)
    status = namespace.status
    assert namespace.condition("Ready") == ("True", "Serving")
    assert namespace.condition("Progressing")[0] == "False"
    assert namespace.condition("Degraded") == ("False", "AsWanted")
    assert (status["ready"], status["replicas"], status["readyReplicas"]) == ("2/2", 2, 2)
    assert status["selector"] == f"{names.SERVICE}=m"
    assert status["observedGeneration"] == namespace.parent["metadata"]["generation"]


def test_the_time_of_a_transition_stays_while_the_status_does() -> None:
    old = condition((), ("Ready", "False", "Starting", "one"), 1, 100.0)
    same = condition([old], ("Ready", "False", "Unschedulable", "two"), 2, 200.0)
    other = condition([same], ("Ready", "True", "Serving", "three"), 2, 300.0)
    assert old["lastTransitionTime"] == same["lastTransitionTime"] == "1970-01-01T00:01:40Z"
    assert (same["reason"], same["message"], same["observedGeneration"]) == ("Unschedulable", "two", 2)
    assert other["lastTransitionTime"] == "1970-01-01T00:05:00Z"


def test_each_change_is_told_once() -> None:
    namespace = Namespace(llm_service(rollout=QUICK))
    told = []
    for _ in range(20):
        told += [(event.type, event.reason) for event in namespace.turn().events]
        namespace.make_pods()
        namespace.now += 1
    assert told.count(("Normal", "Starting")) == told.count(("Normal", "Serving")) == 1
    assert len(told) == len(set(told))
    assert all(kind == "Normal" for kind, _ in told)


def test_lost_replicas_degrade_a_service_that_still_serves() -> None:
    namespace = running(replicas=2)
    before = time_of(namespace, "Ready")
    replace_pods(namespace, pod("p", revision(namespace)))
    assert reasons(namespace) == ["ReplicasLost"]
    assert reasons(namespace) == []
    assert namespace.condition("Ready") == ("True", "Serving")
    assert namespace.condition("Degraded") == ("True", "ReplicasLost")
    assert time_of(namespace, "Ready") == before
    replace_pods(namespace, *(pod(f"p{number}", revision(namespace)) for number in range(2)))
    assert reasons(namespace) == []
    assert namespace.condition("Degraded") == ("False", "AsWanted")


def test_what_keeps_pods_from_running_is_told_once_with_the_mend() -> None:
    namespace = running()
    replace_pods(namespace, pod("p", revision(namespace), ready=False, **WAITING))
    namespace.now += 1
    (event,) = namespace.turn().events
    assert (event.type, event.reason) == ("Warning", "ImageCannotBePulled")
    assert "engine.image" in event.message
    assert namespace.condition("Ready") == ("False", "ImageCannotBePulled")
    assert namespace.condition("Degraded") == ("True", "ImageCannotBePulled")
    assert reasons(namespace) == []


def test_no_replicas_wanted_is_said_and_how_to_have_some() -> None:
    namespace = Namespace(llm_service(replicas=0, rollout=QUICK))
    namespace.turn()
    assert namespace.condition("Ready") == ("False", "NoReplicas")
    assert "kubectl scale" in str(namespace.status["conditions"])
    assert namespace.condition("Degraded")[0] == "False"


def test_a_change_of_the_number_of_replicas_is_told() -> None:
    namespace = running()
    namespace.parent["spec"]["replicas"] = 3
    assert reasons(namespace) == ["Scaled"]
    assert namespace.status["desiredReplicas"] == 3
    assert reasons(namespace) == []


@pytest.mark.parametrize("read", [True, False])
def test_a_service_that_scales_says_whether_it_can_see(read: bool) -> None:
    namespace = Namespace(llm_service(autoscaling={"maxReplicas": 3}, rollout=QUICK))
    load = Load(1, 0, 1, 1) if read else None
    namespace.observed["measured"] = Measured(gateways=load)
    namespace.run()
    expected = ("True", "MetricsRead") if read else ("False", "MetricsMissing")
    assert namespace.condition("ScalingActive") == expected


def test_numbers_that_change_all_the_time_do_not_change_the_status() -> None:
    namespace = Namespace(llm_service(autoscaling={"maxReplicas": 3}, rollout=QUICK))
    statuses = []
    for at in range(120):
        namespace.observed["measured"] = Measured(gateways=Load(2 + at % 3, 0, 1, 1), requests=float(at))
        namespace.observed["scaling"] = namespace.turn().scaling
        namespace.make_pods()
        namespace.now += 0.5
        statuses.append(namespace.status)
    late = [status for at, status in enumerate(statuses) if at > 60]
    assert sum(one != other for one, other in pairwise(late)) <= 4


def test_nothing_in_a_status_is_null_but_in_what_people_wrote() -> None:
    def nulls(value: Any) -> bool:
        if isinstance(value, dict | list):
            return any(nulls(each) for each in (value.values() if isinstance(value, dict) else value))
        return value is None

    assert not nulls(running().status)
    template = {"spec": {"containers": [{"name": "engine", "livenessProbe": None}]}}
    namespace = running(engine={"podTemplate": template})
    (entry,) = namespace.status["history"]
    assert entry["spec"]["engine"]["podTemplate"] == template
    (deployment,) = namespace.of(DEPLOYMENT).values()
    assert "livenessProbe" not in deployment["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("status", "message", "reason"),
    [
        (403, 'pods "m" is forbidden: exceeded quota: q', "QuotaExceeded"),
        (400, 'admission webhook "w" denied the request: no', "RefusedByWebhook"),
        (500, 'Internal error occurred: failed calling webhook "w": no route', "WebhookUnavailable"),
        (403, "User cannot create resource", "Forbidden"),
        (422, "spec.template: Invalid value", "ChildRefused"),
    ],
)
def test_a_child_that_is_refused_is_what_degrades_the_service(status: int, message: str, reason: str) -> None:
    namespace = running()
    error = status_error(status, {"message": message})
    assert is_refusal(error)
    assert refusal(error)[0] == reason
    said = with_refusal(namespace.status, namespace.parent, error, namespace.now)
    found = {each["type"]: (each["status"], each["reason"]) for each in said["conditions"]}
    assert found["Degraded"] == ("True", reason)
    assert found["Ready"] == ("True", "Serving")  # What runs goes on.
