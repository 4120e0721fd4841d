"""How a service is doing: the same from a cluster's object and from status.json, and who is told."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from slipway.gateway.api import describe
from slipway.gateway.catalog import Endpoint, Model, models_of
from slipway.gateway.statuses import ServiceStatus, read_report, status_on_cluster
from slipway.objects import LLMService
from slipway.objects.states import service_state
from unit.cli.cluster_cases import case

SECRETS = ("registry.example.com/private", "node-7")
PULL = f"{SECRETS[0]}:1 cannot be pulled on {SECRETS[1]}."


def of_case(name: str, **ready: int) -> ServiceStatus:
    service = case(name).service
    return status_on_cluster(LLMService.model_validate(service), service_state(service), ready)


def report(state: str = "Progressing", reason: str = "RollingOut", **fields: Any) -> bytes:
    rows = [("new", "Ready"), ("new", "Starting"), ("old", "Ready")]
    service = {
        "name": "m",
        "model": "m",
        "task": "generate",
        "revision": "new",
        "state": state,
        "reason": reason,
        "message": "1 of 2 replicas are ready",
        "replicas": 2,
        "readyReplicas": 2,
        "processes": [{"revision": revision, "state": now, "pid": 7} for revision, now in rows],
    }
    return json.dumps({"supervisor": {"pid": 1}, "services": [service | fields]}).encode()


def model(status: ServiceStatus | None, *endpoints: Endpoint, namespace: str = "", **fields: Any) -> Model:
    service = LLMService.model_validate(
        {"metadata": {"name": "m"}, "spec": {"model": {"source": "hf://org/model"}}}
    )
    (made,) = models_of(service, endpoints, namespace, status=status, **fields)
    return made


def test_a_rollout_on_a_cluster_shows_its_revisions_with_their_weights() -> None:
    status = of_case("canary", **{"49911d77fa": 2, "leaving": 1})
    assert (status.state, status.reason, status.phase) == ("Progressing", "Paused", "Paused")
    assert (status.ready_replicas, status.replicas) == (2, 2)
    shown = [(each.revision, each.role, each.weight, each.ready) for each in status.revisions]
    assert shown == [("49911d77fa", "stable", 100, 2), ("leaving", "", 0, 1)]


def test_a_local_rollout_shows_the_same_without_weights() -> None:
    status = read_report(report())["m"]
    assert (status.state, status.reason, status.ready_replicas, status.replicas) == (
        *("Progressing", "RollingOut"),
        *(2, 2),
    )
    shown = [(each.revision, each.role, each.weight, each.ready) for each in status.revisions]
    assert shown == [("new", "stable", None, 1), ("old", "", None, 1)]
    assert status.as_json().keys() == of_case("canary").as_json().keys()


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b'{"services": 1}', report(state="Odd"), report(replicas="many"), report(processes=[1])],
)
def test_a_report_of_another_shape_is_an_error(data: bytes) -> None:
    with pytest.raises(ValidationError):
        read_report(data)


def test_a_supervisor_that_has_said_nothing_of_services_yet_is_none() -> None:
    assert read_report(b'{"supervisor": {"state": "Starting"}}') == {}


@pytest.mark.parametrize("namespace", ["", "models"])
@pytest.mark.parametrize("endpoints", [(), (Endpoint("h:1", False, "r"),)])
def test_admins_see_the_cause_and_others_that_there_is_one(
    namespace: str, endpoints: tuple[Endpoint, ...]
) -> None:
    failed = ServiceStatus("Failed", "ImageCannotBePulled", PULL, 1, 0)
    found = model(failed, *endpoints, namespace=namespace)
    where = " -n models" if namespace else ""
    told = describe(found, admin=True)
    assert told["reason"] == f"ImageCannotBePulled: {PULL} `slipway explain m{where}` says more."
    assert told["status"]["message"] == PULL
    other = describe(found, admin=False)
    assert (other["state"], other["status"]) == ("Failed", None)
    assert other["reason"] == "its engine has failed. Those who run it can see why."
    assert not [secret for secret in SECRETS if secret in json.dumps(other)]


@pytest.mark.parametrize(
    ("status", "endpoints", "may_start", "client", "admin"),
    [
        (None, 0, False, "no engine runs for it. Those who run it can see why.", "no engine runs for it."),
        (
            ServiceStatus("Progressing", "Starting", "0 of 1 replicas are ready", 1, 0),
            *(1, False),
            "its engine is starting. Try again in a few seconds.",
            "Starting: 0 of 1 replicas are ready.",
        ),
        (
            ServiceStatus("Ready", "NoReplicas", "", 0, 0),
            *(0, True),
            "it has no engine now; the first request starts one.",
            "it has no engine now; the first request starts one.",
        ),
        (
            ServiceStatus("Progressing", "RollingOut", "", 1, 0),
            *(0, False),
            "no engine runs for it. Those who run it can see why.",
            "RollingOut.",
        ),
    ],
)
def test_what_is_told_of_a_model_that_is_not_ready(
    status: ServiceStatus | None, endpoints: int, may_start: bool, client: str, admin: str
) -> None:
    found = model(status, *[Endpoint("h:1", False)] * endpoints, may_start=may_start)
    assert found.why_not_ready == client
    assert found.cause == f"{admin} `slipway explain m` says more."


def test_a_model_that_serves_has_no_cause_whatever_its_state() -> None:
    degraded = ServiceStatus("Degraded", "BackOff", PULL, 2, 1)
    told = describe(model(degraded, Endpoint("h:1", True)), admin=True)
    assert (told["ready"], told["reason"], told["state"]) == (True, None, "Degraded")
    assert told["status"]["reason"] == "BackOff"
